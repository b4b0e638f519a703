//! What a transaction is: readers see one state, writers all or nothing, whatever is dropped
//! or ended half-way.

use std::task::{Context, Poll, Waker};

use pacegate_store::{DatabaseUrl, Db, StoreError};

use super::{Outcome, Store, at, repo_name, store_test};

store_test!(a_reader_sees_one_state, async |store: &Store| -> Outcome {
    let mut reader = store.read().await?;
    assert_eq!(reader.list_repositories(10).await?.len(), 0);
    store.repository("acme/app").await?;
    assert_eq!(reader.list_repositories(10).await?.len(), 0, "what came later is not mixed in");
    assert_eq!(store.read().await?.list_repositories(10).await?.len(), 1);
    Ok(())
});

store_test!(a_dropped_transaction_leaves_nothing, async |store: &Store| -> Outcome {
    let mut tx = store.write().await?;
    tx.ensure_repository(&repo_name("acme/app"), at(0)).await?;
    drop(tx);
    assert_eq!(store.read().await?.list_repositories(10).await?.len(), 0);
    store.repository("acme/app").await?;
    Ok(())
});

// A transaction that is ended at every place where it waits.
store_test!(
    a_cancelled_transaction_leaves_nothing_and_the_next_one_works,
    async |store: &Store| -> Outcome {
        for polls in 0..12 {
            let mut writing = Box::pin(async {
                let mut tx = store.write().await?;
                tx.ensure_repository(&repo_name("acme/cancelled"), at(0)).await?;
                tx.ensure_repository(&repo_name("acme/again"), at(0)).await?;
                std::future::pending::<()>().await;
                tx.commit().await
            });
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                assert!(matches!(writing.as_mut().poll(&mut context), Poll::Pending));
                // The database's own threads get on meanwhile.
                store.read().await?.list_repositories(10).await?;
            }
            drop(writing);
            store.repository(&format!("acme/kept-{polls}")).await?;
        }
        let names: Vec<_> = store.read().await?.list_repositories(100).await?;
        assert!(names.iter().all(|line| line.repository.name.name().starts_with("kept-")), "{names:?}");
        assert_eq!(names.len(), 12);
        Ok(())
    }
);

#[tokio::test]
async fn addresses_without_a_file_are_refused() {
    for url in ["sqlite://", "sqlite:", "sqlite::memory:", "sqlite://x?mode=memory", "mysql://x", "x", ""] {
        let refused = url.parse::<DatabaseUrl>();
        assert!(matches!(refused, Err(StoreError::Url(_))), "{url:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_database_that_can_t_be_opened_is_an_error() {
    let url: DatabaseUrl = "sqlite:///nowhere/at/all/pacegate.db".parse().expect("a URL");
    assert!(matches!(Db::connect(&url, 2).await, Err(StoreError::Database(_))));
}

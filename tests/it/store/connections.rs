//! Transactions: a reader sees one state, and a writer commits everything or nothing, even if it is
//! dropped or cancelled.

use std::task::{Context, Poll, Waker};

use pacegate_store::{DatabaseUrl, Db, StoreError};

use super::{Outcome, Store, at, repo_name, store_test};

store_test!(reader_sees_one_state, async |store: &Store| -> Outcome {
    let mut reader = store.read().await?;
    assert_eq!(reader.list_repositories(10).await?.len(), 0);
    store.repository("acme/app").await?;
    assert_eq!(reader.list_repositories(10).await?.len(), 0, "a later commit is not visible");
    assert_eq!(store.read().await?.list_repositories(10).await?.len(), 1);
    Ok(())
});

store_test!(dropped_transaction_leaves_nothing, async |store: &Store| -> Outcome {
    let mut tx = store.write().await?;
    tx.ensure_repository(&repo_name("acme/app"), at(0)).await?;
    drop(tx);
    assert_eq!(store.read().await?.list_repositories(10).await?.len(), 0);
    store.repository("acme/app").await?;
    Ok(())
});

// A transaction is cancelled at each of its await points.
store_test!(cancelled_transaction_leaves_nothing_behind, async |store: &Store| -> Outcome {
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
            // Meanwhile the database's own threads continue.
            store.read().await?.list_repositories(10).await?;
        }
        drop(writing);
        store.repository(&format!("acme/kept-{polls}")).await?;
    }
    let names: Vec<_> = store.read().await?.list_repositories(100).await?;
    assert!(names.iter().all(|line| line.repository.name.name().starts_with("kept-")), "{names:?}");
    assert_eq!(names.len(), 12);
    Ok(())
});

#[tokio::test]
async fn urls_without_file_are_refused() {
    for url in ["sqlite://", "sqlite:", "sqlite::memory:", "sqlite://x?mode=memory", "mysql://x", "x", ""] {
        let refused = url.parse::<DatabaseUrl>();
        assert!(matches!(refused, Err(StoreError::Url(_))), "{url:?}: {refused:?}");
    }
}

#[tokio::test]
async fn unopenable_database_is_an_error() {
    let url: DatabaseUrl = "sqlite:///nowhere/at/all/pacegate.db".parse().expect("a URL");
    assert!(matches!(Db::connect(&url, 2).await, Err(StoreError::Database(_))));
}

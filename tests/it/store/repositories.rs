//! Repositories and installations: GitHub's number identifies a repository, and names may move from
//! one repository to another.

use pacegate_engine::model::ids::InstallationId;
use pacegate_store::{InstallationRow, RepositoryFacts, RepositoryRow, StoreError};

use super::runs::run_of;
use super::verdicts::{comparison, keep, keep_one};
use super::{Outcome, Store, at, repo_name, sha, store_test};

const HERE: InstallationId = InstallationId(70);
const THERE: InstallationId = InstallationId(71);

fn facts(github_id: i64, name: &str) -> RepositoryFacts {
    RepositoryFacts { github_id, name: repo_name(name), default_branch: None, private: false }
}

async fn record(store: &Store, github_id: i64, name: &str) -> Result<RepositoryRow, StoreError> {
    let mut tx = store.write().await?;
    let row = tx.record_repository(&facts(github_id, name), HERE, at(5)).await?;
    tx.commit().await?;
    Ok(row)
}

async fn found(store: &Store, name: &str) -> Result<Option<RepositoryRow>, StoreError> {
    store.read().await?.find_repository(&repo_name(name)).await
}

store_test!(name_in_any_case_is_one_repository, async |store: &Store| -> Outcome {
    let row = store.repository("Acme/App").await?;
    assert!(row.private && row.github_id.is_none() && row.installation.is_none());
    assert_eq!(store.repository("ACME/app").await?, row);
    assert_eq!(found(store, "acme/aPP").await?, Some(row.clone()));
    assert_eq!(found(store, "acme/app2").await?, None);
    assert_eq!(store.read().await?.repository(row.id).await?, Some(row));
    Ok(())
});

store_test!(renamed_repository_keeps_its_row, async |store: &Store| -> Outcome {
    let row = record(store, 1, "acme/old").await?;
    let renamed = record(store, 1, "acme/new").await?;
    assert_eq!(renamed, RepositoryRow { name: repo_name("acme/new"), ..row.clone() });
    assert_eq!(found(store, "acme/old").await?, None);
    assert_eq!(found(store, "acme/new").await?, Some(renamed.clone()));
    // Another case of the name is a rename too.
    assert_eq!(record(store, 1, "Acme/New").await?, RepositoryRow { name: repo_name("Acme/New"), ..row });
    // The old name is free for another repository.
    assert_ne!(record(store, 2, "acme/old").await?.id, renamed.id);
    Ok(())
});

store_test!(facts_left_out_by_github_stay, async |store: &Store| -> Outcome {
    let mut tx = store.write().await?;
    let whole =
        RepositoryFacts { default_branch: Some("trunk".into()), private: true, ..facts(1, "acme/app") };
    let row = tx.record_repository(&whole, HERE, at(1)).await?;
    assert_eq!((row.default_branch.as_deref(), row.private), (Some("trunk"), true));
    assert_eq!((row.github_id, row.installation), (Some(1), Some(HERE)));
    let row = tx.record_repository(&facts(1, "acme/app"), THERE, at(2)).await?;
    assert_eq!((row.default_branch.as_deref(), row.private), (Some("trunk"), false));
    assert_eq!(row.installation, Some(THERE));
    assert_eq!(tx.find_repository_by_github_id(1).await?, Some(row));
    assert_eq!(tx.find_repository_by_github_id(2).await?, None);
    tx.commit().await
});

store_test!(transferred_name_finds_its_new_repository, async |store: &Store| -> Outcome {
    let first = record(store, 1, "acme/app").await?;
    let second = record(store, 2, "acme/app").await?;
    assert_ne!(first.id, second.id);
    assert_eq!(found(store, "acme/app").await?, Some(second.clone()));
    // GitHub reports the first one's new name: it is still the same repository.
    let moved = record(store, 1, "acme/moved").await?;
    assert_eq!(moved.id, first.id);
    assert_eq!(found(store, "acme/moved").await?, Some(moved));
    assert_eq!(found(store, "acme/app").await?, Some(second));
    Ok(())
});

store_test!(name_may_move_between_repositories_repeatedly, async |store: &Store| -> Outcome {
    let first = record(store, 1, "acme/app").await?.id;
    let second = record(store, 2, "acme/app").await?.id;
    assert_eq!(record(store, 2, "acme/aside").await?.id, second);
    let third = record(store, 3, "acme/app").await?.id;
    assert_eq!(record(store, 2, "acme/app").await?.id, second, "the third one parks beside the first");
    assert_eq!(record(store, 1, "acme/app").await?.id, first);
    assert_eq!(record(store, 2, "acme/two").await?.id, second);
    assert_eq!(record(store, 3, "acme/three").await?.id, third);
    for (name, id) in [("acme/app", first), ("acme/two", second), ("acme/three", third)] {
        assert_eq!(found(store, name).await?.map(|row| row.id), Some(id), "{name}");
    }
    assert_eq!(store.read().await?.list_repositories(10).await?.len(), 3);
    Ok(())
});

store_test!(installation_claims_repository_made_for_token, async |store: &Store| -> Outcome {
    let made = store.repository("acme/APP").await?;
    let mut tx = store.write().await?;
    let (_, secret) = tx.create_token(made.id, "ci", &store.rng, at(1)).await?;
    tx.commit().await?;
    let claimed = record(store, 1, "acme/app").await?;
    assert_eq!(claimed.id, made.id);
    assert_eq!((claimed.github_id, claimed.installation), (Some(1), Some(HERE)));
    assert_eq!(claimed.name, repo_name("acme/app"), "GitHub's spelling");
    assert_eq!(store.read().await?.repository_of_token(&secret).await?, Some(made.id));
    Ok(())
});

store_test!(rename_takes_tokens_made_for_the_name, async |store: &Store| -> Outcome {
    let old = record(store, 1, "acme/old").await?;
    let made = store.repository("acme/new").await?;
    let mut tx = store.write().await?;
    let (_, secret) = tx.create_token(made.id, "ci", &store.rng, at(1)).await?;
    tx.commit().await?;
    let renamed = record(store, 1, "acme/new").await?;
    assert_eq!(renamed.id, old.id, "its number identifies it");
    assert_eq!(found(store, "acme/new").await?, Some(renamed));
    assert_eq!(store.read().await?.repository_of_token(&secret).await?, Some(old.id));
    Ok(())
});

store_test!(detached_repository_keeps_its_data, async |store: &Store| -> Outcome {
    let row = record(store, 1, "acme/app").await?;
    let mut tx = store.write().await?;
    tx.detach_repository(1, THERE).await?;
    assert_eq!(tx.repository(row.id).await?, Some(row.clone()), "another installation can't detach it");
    tx.detach_repository(2, HERE).await?;
    tx.detach_repository(1, HERE).await?;
    assert_eq!(
        tx.repository(row.id).await?,
        Some(RepositoryRow { installation: None, private: true, ..row.clone() })
    );
    tx.commit().await?;
    assert_eq!(record(store, 1, "acme/app").await?, row, "it is attached again");
    Ok(())
});

store_test!(removed_installation_detaches_its_repositories, async |store: &Store| -> Outcome {
    let here = InstallationRow { id: HERE, account: "acme".into(), suspended: false };
    let there = InstallationRow { id: THERE, account: "other".into(), suspended: false };
    let row = record(store, 1, "acme/app").await?;
    let mut tx = store.write().await?;
    assert_eq!(tx.installation(HERE).await?, None);
    tx.record_installation(&here, at(1)).await?;
    tx.record_installation(&there, at(1)).await?;
    let elsewhere = tx.record_repository(&facts(2, "other/app"), THERE, at(1)).await?;
    let suspended = InstallationRow { suspended: true, ..here.clone() };
    tx.record_installation(&suspended, at(2)).await?;
    assert_eq!(tx.installation(HERE).await?, Some(suspended));
    tx.remove_installation(HERE, at(3)).await?;
    assert_eq!(tx.installation(HERE).await?, None);
    assert_eq!(tx.installation(THERE).await?, Some(there));
    assert_eq!(tx.repository(row.id).await?.and_then(|r| r.installation), None);
    assert_eq!(tx.repository(elsewhere.id).await?, Some(elsewhere));
    tx.record_installation(&here, at(4)).await?;
    assert_eq!(tx.installation(HERE).await?, Some(here));
    tx.commit().await
});

store_test!(repositories_are_listed_by_newest_run, async |store: &Store| -> Outcome {
    let quiet = store.repository("acme/a-quiet").await?;
    let busy = store.repository("acme/busy").await?;
    let late = store.repository("acme/late").await?;
    let mut tx = store.write().await?;
    for (row, id, started) in [(&busy, "r1", 10), (&busy, "r2", 20), (&late, "r3", 30)] {
        tx.record_run(row.id, &run_of(id, None, sha('a'), at(started)), 1).await?;
    }
    keep(&mut tx, busy.id, "c1", 'a', 1, "first").await?;
    let mut judged = comparison('b');
    judged.verdict = pacegate_engine::model::comparison::RunVerdict::Regressed;
    keep_one(&mut tx, busy.id, "c2", 1, "second", &judged).await?;
    let listed = tx.list_repositories(10).await?;
    let shown: Vec<_> = listed
        .iter()
        .map(|line| (&line.repository, line.runs, line.last_run_at, line.last_verdict.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            (&late, 1, Some(at(30)), None),
            (&busy, 2, Some(at(20)), Some("regressed")),
            (&quiet, 0, None, None)
        ]
    );
    assert_eq!(tx.list_repositories(1).await?.len(), 1);
    tx.commit().await
});

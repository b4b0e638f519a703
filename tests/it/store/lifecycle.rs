//! Changes of repositories: late deliveries, changes of visibility and owner, and the deletion of
//! all data of one repository after the grace period.

use std::collections::BTreeSet;

use pacegate_engine::model::ids::InstallationId;
use pacegate_store::forgetting::{TABLES, TABLES_OF_RUNS};
use pacegate_store::{RepositoryFacts, RepositoryRow, StoreError};

use super::runs::run_of;
use super::verdicts::keep;
use super::{Outcome, Store, at, repo_name, sha, store_test};

const HERE: InstallationId = InstallationId(70);
const THERE: InstallationId = InstallationId(71);

fn facts(name: &str, private: bool) -> RepositoryFacts {
    RepositoryFacts { github_id: 1, name: repo_name(name), default_branch: None, private }
}

async fn record(
    store: &Store,
    name: &str,
    at_installation: InstallationId,
) -> Result<RepositoryRow, StoreError> {
    let mut tx = store.write().await?;
    let row = tx.record_repository(&facts(name, false), at_installation, at(5)).await?;
    tx.commit().await?;
    Ok(row)
}

store_test!(late_delivery_does_not_revert_a_rename, async |store: &Store| -> Outcome {
    let old = record(store, "acme/old", HERE).await?;
    let new = record(store, "acme/new", HERE).await?;
    assert_eq!(old.id, new.id);
    assert_eq!(record(store, "acme/old", HERE).await?.name, repo_name("acme/new"), "a late delivery");
    let mut tx = store.write().await?;
    let by_old = tx.find_repository_by_old_name(&repo_name("ACME/old")).await?;
    assert_eq!(by_old.map(|row| row.name), Some(repo_name("acme/new")));
    // GitHub answers that the repository has its first name again.
    let back = tx.confirm_repository(&facts("acme/old", false), false, HERE, at(6)).await?;
    assert_eq!(back.name, repo_name("acme/old"));
    assert_eq!(tx.find_repository_by_old_name(&repo_name("acme/old")).await?, None);
    tx.commit().await
});

store_test!(only_githubs_answer_makes_repository_public_again, async |store: &Store| -> Outcome {
    let row = record(store, "acme/app", HERE).await?;
    assert!(!row.private);
    let mut tx = store.write().await?;
    tx.close_repository(row.id, at(6)).await?;
    tx.commit().await?;
    assert!(record(store, "acme/app", HERE).await?.private, "a late delivery does not make it public");
    let mut tx = store.write().await?;
    let asked = tx.confirm_repository(&facts("acme/app", false), true, HERE, at(7)).await?;
    assert!(!asked.private && asked.archived);
    tx.commit().await
});

store_test!(new_owner_does_not_get_the_tokens, async |store: &Store| -> Outcome {
    let row = record(store, "acme/app", HERE).await?;
    let mut tx = store.write().await?;
    let (_, token) = tx.create_token(row.id, "ci", &store.rng, at(1)).await?;
    tx.commit().await?;
    // The account was renamed: the installation and the people are the same.
    record(store, "acme-inc/app", HERE).await?;
    assert_eq!(store.read().await?.repository_of_token(&token).await?, Some(row.id));
    let moved = record(store, "other/app", THERE).await?;
    assert_eq!((moved.id, moved.installation), (row.id, Some(THERE)));
    assert_eq!(store.read().await?.repository_of_token(&token).await?, None);
    Ok(())
});

store_test!(uninstalled_repository_is_deleted_after_grace_period, async |store: &Store| -> Outcome {
    let kept = store.repository("acme/local").await?;
    let row = record(store, "acme/app", HERE).await?;
    let mut tx = store.write().await?;
    for repo in [kept.id, row.id] {
        tx.record_run(repo, &run_of("r1", None, sha('a'), at(1)), 1).await?;
        keep(&mut tx, repo, "c1", 'a', 1, "first").await?;
        tx.create_token(repo, "ci", &store.rng, at(1)).await?;
    }
    tx.mark_detached(at(10)).await?;
    assert_eq!(tx.repositories_to_forget(at(99)).await?, [], "it has an installation");
    tx.remove_installation(HERE, at(11)).await?;
    tx.mark_detached(at(12)).await?;
    assert_eq!(tx.repositories_to_forget(at(11)).await?, [], "in its grace period");
    // Installed again in time: the grace period starts anew.
    tx.record_repository(&facts("acme/app", false), HERE, at(13)).await?;
    assert!(!tx.hold_for_forgetting(row.id, at(99), at(14)).await?);
    tx.remove_installation(HERE, at(20)).await?;
    tx.detach_repository(1, HERE).await?;
    tx.mark_detached(at(21)).await?;
    assert_eq!(tx.repositories_to_forget(at(22)).await?, [row.id]);
    assert!(tx.hold_for_forgetting(row.id, at(22), at(22)).await?);
    let runs: Vec<_> = tx.runs_to_forget(row.id, 10).await?.into_iter().map(|(run, _)| run).collect();
    assert_eq!(runs.len(), 1);
    tx.forget_runs(row.id, &runs).await?;
    while tx.forget_rows(row.id, 1).await? {}
    tx.forget_repository(row.id).await?;
    tx.commit().await?;
    let mut tx = store.read().await?;
    assert_eq!(tx.repository(row.id).await?, None);
    assert_eq!(
        tx.repository(kept.id).await?,
        Some(kept.clone()),
        "made for a token, it needs no installation"
    );
    assert_eq!(tx.runs_to_forget(kept.id, 10).await?.len(), 1);
    Ok(())
});

#[test]
fn deletion_covers_every_table_of_a_repository() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let mut with_repo = BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("migrations") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        for table in text.split("CREATE TABLE ").skip(1) {
            let body = table.split(");").next().expect("a body");
            if body.contains("REFERENCES repositories") {
                with_repo.insert(table.split_whitespace().next().expect("a name").to_owned());
            }
        }
    }
    let deleted: BTreeSet<String> =
        TABLES.iter().map(|(table, _)| *table).chain(TABLES_OF_RUNS).map(str::to_owned).collect();
    assert_eq!(with_repo, deleted);
}

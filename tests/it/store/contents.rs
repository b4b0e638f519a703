//! Stored files of repositories: a branch's policy until a push, files at a commit until they are
//! swept.

use pacegate_store::{StoredFile, StoredPolicy};

use super::{Outcome, Store, at, sha, store_test};

store_test!(policy_is_current_until_a_push, async |store: &Store| -> Outcome {
    let (app, other) = (store.repository("acme/app").await?, store.repository("acme/other").await?);
    let file = StoredFile { path: ".github/pacegate.yml".into(), text: "mode: gate # it's 🐢\n".into() };
    let mut tx = store.write().await?;
    assert_eq!(tx.policy(app.id, "main").await?, None, "never asked for");
    tx.record_policy(app.id, "main", Some(&file), at(1)).await?;
    tx.record_policy(app.id, "release/1.0", None, at(1)).await?;
    tx.record_policy(other.id, "main", None, at(2)).await?;
    tx.outdate_policy(app.id, "main").await?;
    tx.outdate_policy(app.id, "an unknown branch").await?;
    let kept = |file: Option<&StoredFile>, fetched_at| StoredPolicy { file: file.cloned(), fetched_at };
    assert_eq!(tx.policy(app.id, "main").await?, Some(kept(Some(&file), None)));
    assert_eq!(tx.policy(app.id, "release/1.0").await?, Some(kept(None, Some(at(1)))));
    assert_eq!(tx.policy(other.id, "main").await?, Some(kept(None, Some(at(2)))));
    tx.record_policy(app.id, "main", None, at(3)).await?;
    assert_eq!(tx.policy(app.id, "main").await?, Some(kept(None, Some(at(3)))));
    tx.commit().await
});

store_test!(first_record_of_file_at_commit_stays, async |store: &Store| -> Outcome {
    let app = store.repository("acme/app").await?;
    let mut tx = store.write().await?;
    assert_eq!(tx.file_at(app.id, &sha('a'), "x.yml").await?, None);
    tx.record_file_at(app.id, &sha('a'), "x.yml", Some("jobs: {}"), at(1)).await?;
    tx.record_file_at(app.id, &sha('a'), "x.yml", None, at(5)).await?;
    tx.record_file_at(app.id, &sha('b'), "x.yml", None, at(2)).await?;
    assert_eq!(tx.file_at(app.id, &sha('a'), "x.yml").await?, Some(Some("jobs: {}".into())));
    assert_eq!(tx.file_at(app.id, &sha('b'), "x.yml").await?, Some(None), "the commit has no such file");
    assert_eq!(tx.sweep_files(at(2)).await?, 1);
    assert_eq!(tx.file_at(app.id, &sha('a'), "x.yml").await?, None);
    assert!(tx.file_at(app.id, &sha('b'), "x.yml").await?.is_some(), "a file recorded at the limit stays");
    tx.commit().await
});

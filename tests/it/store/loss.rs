//! A process that is killed: its file holds exactly the committed data.

use pacegate_store::{DatabaseUrl, Db, DeliveryRow, LeaseToken, NewTask, Priority};
use tempfile::TempDir;

use super::{Outcome, Store, at, seconds};

fn delivery(id: &str) -> DeliveryRow {
    DeliveryRow { delivery_id: id.to_owned(), event: "ping".into(), body: Some("{}".into()) }
}

fn task(delivery: &str) -> NewTask {
    NewTask {
        kind: "handle_delivery",
        payload: delivery.to_owned(),
        repo: None,
        dedupe_key: Some(delivery.to_owned()),
        serial_key: None,
        run_at: at(0),
        priority: Priority::Usual,
        max_attempts: 3,
    }
}

/// Copies the database's files as they would be after the machine stopped at this moment.
fn as_it_is_now(from: &TempDir) -> TempDir {
    let copy = TempDir::new().expect("a temporary folder");
    for entry in std::fs::read_dir(from.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        // The index of the log is shared memory and is rebuilt from the log.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
    }
    copy
}

#[tokio::test]
async fn reopened_file_has_exactly_the_committed_data() {
    Store::sqlite()
        .await
        .run(async |store| -> Outcome {
            let mut tx = store.write().await?;
            assert!(tx.record_delivery(&delivery("committed"), at(1)).await?);
            assert!(tx.push_task(&task("committed"), &store.rng, at(1)).await?);
            tx.commit().await?;
            let mut tx = store.write().await?;
            assert!(tx.record_delivery(&delivery("dropped"), at(2)).await?);
            assert!(tx.push_task(&task("dropped"), &store.rng, at(2)).await?);
            drop(tx);
            // This transaction is open when the process ends.
            let mut tx = store.write().await?;
            assert!(tx.record_delivery(&delivery("open"), at(3)).await?);
            assert!(tx.push_task(&task("open"), &store.rng, at(3)).await?);

            let copy = as_it_is_now(store.folder.as_ref().expect("a folder"));
            let url: DatabaseUrl = format!("sqlite://{}/pacegate.db", copy.path().display()).parse()?;
            let reopened = Db::connect(&url, 2).await?;
            reopened.migrate().await?;
            let mut found = reopened.read().await?;
            assert_eq!(found.delivery("committed").await?, Some(delivery("committed")));
            assert_eq!(found.delivery("dropped").await?, None);
            assert_eq!(found.delivery("open").await?, None);
            let token = LeaseToken::new(&store.rng);
            let claimed = reopened.claim_tasks(&token, at(9), seconds(60), 10).await?;
            assert_eq!(claimed.iter().map(|task| task.payload.as_str()).collect::<Vec<_>>(), ["committed"]);
            drop(found);
            reopened.close().await;
            tx.commit().await
        })
        .await;
}

#[tokio::test]
async fn running_task_survives_its_process() {
    Store::sqlite()
        .await
        .run(async |store| -> Outcome {
            let mut tx = store.write().await?;
            assert!(tx.push_task(&task("d"), &store.rng, at(1)).await?);
            tx.commit().await?;
            let claim = async |db: &Db, now| {
                db.claim_tasks(&LeaseToken::new(&store.rng), at(now), seconds(60), 10).await
            };
            assert_eq!(claim(&store.db, 10).await?.len(), 1);
            let copy = as_it_is_now(store.folder.as_ref().expect("a folder"));
            let url: DatabaseUrl = format!("sqlite://{}/pacegate.db", copy.path().display()).parse()?;
            let restarted = Db::connect(&url, 2).await?;
            assert_eq!(claim(&restarted, 11).await?.len(), 0, "its lease still runs");
            let again = claim(&restarted, 70).await?;
            assert_eq!(again.len(), 1);
            assert_eq!((again[0].payload.as_str(), again[0].attempts), ("d", 2));
            restarted.close().await;
            Ok(())
        })
        .await;
}

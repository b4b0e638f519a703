//! Upload grants: a token is exchanged once. A grant is valid for minutes and for one attempt of one
//! run, and its uploads are limited.

use pacegate_engine::model::ids::RepoId;
use pacegate_store::{GrantRow, Granted, JobTokenUse, NewGrant, StoreError, Tx};

use super::{Outcome, Store, at, sha, store_test};

fn new(repo: RepoId, run_id: i64) -> NewGrant {
    let (check_run_id, head_sha) = (Some(61), Some(sha('a')));
    NewGrant { repo, run_id, attempt: 2, check_run_id, head_sha, expires_at: at(900) }
}

async fn ask(tx: &mut Tx, store: &Store, token: &str, new: &NewGrant) -> Result<Granted, StoreError> {
    let token = JobTokenUse { id: token, usable_until: at(600) };
    tx.create_grant(new, token, &store.rng, at(0)).await
}

async fn granted(tx: &mut Tx, store: &Store, token: &str, new: &NewGrant) -> Result<GrantRow, StoreError> {
    let Granted::New(secret) = ask(tx, store, token, new).await? else { panic!("{token} is new") };
    assert!(secret.starts_with("pgg_") && secret.len() == 52, "{secret}");
    Ok(tx.grant(&secret, at(1)).await?.expect("it is in force"))
}

store_test!(token_is_exchanged_once_and_grant_expires, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    let Granted::New(secret) = ask(&mut tx, store, "one", &new(repo, 5)).await? else { panic!("it is new") };
    let found = tx.grant(&secret, at(899)).await?.expect("it is in force");
    assert_eq!((found.repo, found.run_id, found.attempt), (repo, 5, 2));
    assert_eq!((found.check_run_id, &found.head_sha), (Some(61), &Some(sha('a'))));
    assert_eq!(tx.grant(&secret, at(900)).await?, None, "it ended");
    for wrong in ["", "pgg_", &secret[..51], &secret.to_uppercase(), &secret.replace("pgg_", "pgt_")] {
        assert_eq!(tx.grant(wrong, at(1)).await?, None, "{wrong:?}");
    }
    assert_eq!(ask(&mut tx, store, "one", &new(repo, 5)).await?, Granted::Replayed);
    assert_eq!(ask(&mut tx, store, "one", &new(repo, 6)).await?, Granted::Replayed, "for another run, too");
    tx.sweep_grants(at(900), at(600)).await?;
    assert_eq!(ask(&mut tx, store, "one", &new(repo, 5)).await?, Granted::Replayed, "it could still be used");
    assert!(tx.grant(&secret, at(899)).await?.is_some());
    tx.sweep_grants(at(901), at(601)).await?;
    assert_eq!(tx.grant(&secret, at(899)).await?, None);
    tx.commit().await
});

store_test!(concurrent_exchanges_of_token_give_one_grant, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let exchange = async |db: &pacegate_store::Db| {
        let mut tx = db.write().await?;
        let granted = ask(&mut tx, store, "one", &new(repo, 5)).await?;
        tx.commit().await?;
        Ok::<bool, StoreError>(granted != Granted::Replayed)
    };
    let (one, two) = tokio::join!(exchange(&store.db), exchange(&other));
    assert_eq!(u8::from(one?) + u8::from(two?), 1);
    Ok(())
});

store_test!(uploads_of_grant_and_attempt_are_limited, async |store: &Store| -> Outcome {
    const MIB: usize = 1 << 20;
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    let small = granted(&mut tx, store, "often", &new(repo, 5)).await?;
    for upload in 0..32 {
        assert!(tx.count_upload(&small, 1).await?, "{upload}");
    }
    assert!(!tx.count_upload(&small, 1).await?, "too often");
    let large = granted(&mut tx, store, "much", &new(repo, 5)).await?;
    assert!(tx.count_upload(&large, 128 * MIB).await?);
    assert!(!tx.count_upload(&large, 1).await?, "too much");
    assert!(!tx.count_upload(&large, usize::MAX).await?);
    for job in 0..6 {
        let next = granted(&mut tx, store, &format!("job {job}"), &new(repo, 5)).await?;
        assert!(tx.count_upload(&next, 128 * MIB).await?, "{job}");
    }
    let last = granted(&mut tx, store, "last", &new(repo, 5)).await?;
    assert!(!tx.count_upload(&last, 128 * MIB).await?, "too much for one attempt");
    assert!(tx.count_upload(&last, 100 * MIB).await?);
    let elsewhere = granted(&mut tx, store, "elsewhere", &new(repo, 6)).await?;
    assert!(tx.count_upload(&elsewhere, 128 * MIB).await?, "another run has its own limit");
    tx.commit().await
});

store_test!(concurrent_uploads_count_each_other, async |store: &Store| -> Outcome {
    const MOST: usize = 128 << 20;
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let mut tx = store.write().await?;
    let mut grants = Vec::new();
    for job in 0..9 {
        grants.push(granted(&mut tx, store, &format!("job {job}"), &new(repo, 5)).await?);
    }
    for grant in &grants[..7] {
        assert!(tx.count_upload(grant, MOST).await?);
    }
    tx.commit().await?;
    let upload = async |db: &pacegate_store::Db, grant: &GrantRow| {
        let mut tx = db.write().await?;
        let counted = tx.count_upload(grant, MOST).await?;
        tx.commit().await?;
        Ok::<bool, StoreError>(counted)
    };
    let (one, two) = tokio::join!(upload(&store.db, &grants[7]), upload(&other, &grants[8]));
    assert_eq!(u8::from(one?) + u8::from(two?), 1, "there was room for one of them");
    Ok(())
});

store_test!(grants_of_an_attempt_are_limited, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    for job in 0..2_000 {
        ask(&mut tx, store, &format!("{job}"), &new(repo, 5)).await?;
    }
    assert_eq!(ask(&mut tx, store, "one more", &new(repo, 5)).await?, Granted::TooMany);
    assert!(matches!(ask(&mut tx, store, "of another", &new(repo, 6)).await?, Granted::New(_)));
    tx.commit().await
});

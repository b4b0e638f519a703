//! Ingest tokens and webhook deliveries.

use pacegate_store::DeliveryRow;

use super::{Outcome, Store, at, store_test};

store_test!(token_is_valid_until_revoked, async |store: &Store| -> Outcome {
    let (app, other) = (store.repository("acme/app").await?, store.repository("acme/other").await?);
    let mut tx = store.write().await?;
    let (first, secret) = tx.create_token(app.id, "ci", &store.rng, at(1)).await?;
    let (second, other_secret) = tx.create_token(app.id, "laptop", &store.rng, at(2)).await?;
    assert!(secret.starts_with("pgt_") && secret != other_secret);
    assert_eq!(tx.repository_of_token(&secret).await?, Some(app.id));
    for wrong in ["", "pgt_", &secret[..secret.len() - 1], &secret.to_uppercase(), &format!("{secret} ")] {
        assert_eq!(tx.repository_of_token(wrong).await?, None, "{wrong:?}");
    }
    assert!(!tx.revoke_token(other.id, &first, at(3)).await?, "another repository's token");
    assert!(tx.revoke_token(app.id, &first, at(3)).await?);
    assert!(!tx.revoke_token(app.id, &first, at(4)).await?, "revoked before");
    assert_eq!(tx.repository_of_token(&secret).await?, None);
    assert_eq!(tx.repository_of_token(&other_secret).await?, Some(app.id));
    let listed = tx.list_tokens(app.id).await?;
    let shown: Vec<_> = listed.iter().map(|t| (&t.token_id, t.label.as_str(), t.revoked_at)).collect();
    assert_eq!(shown, [(&first, "ci", Some(at(3).0)), (&second, "laptop", None)]);
    assert_eq!(tx.list_tokens(other.id).await?, []);
    tx.commit().await
});

store_test!(delivery_is_recorded_once, async |store: &Store| -> Outcome {
    let body = r#"{"zero":"\u0000","quote":"'"}"#;
    let first =
        DeliveryRow { delivery_id: "d-1".into(), event: "pull_request".into(), body: Some(body.to_owned()) };
    let again = DeliveryRow { body: None, ..first.clone() };
    let mut tx = store.write().await?;
    assert!(tx.record_delivery(&first, at(10)).await?);
    assert!(!tx.record_delivery(&again, at(20)).await?);
    // The transaction is still good.
    let other = DeliveryRow { delivery_id: "d-2".into(), event: "ping".into(), body: None };
    assert!(tx.record_delivery(&other, at(20)).await?);
    tx.commit().await?;
    let mut tx = store.write().await?;
    assert_eq!(tx.delivery("d-1").await?, Some(first));
    assert_eq!(tx.delivery("d-2").await?, Some(other));
    assert_eq!(tx.delivery("d-3").await?, None);
    assert_eq!(tx.sweep_deliveries(at(20)).await?, 1);
    assert_eq!(tx.delivery("d-1").await?, None);
    assert!(tx.delivery("d-2").await?.is_some(), "a delivery at the limit stays");
    tx.commit().await
});

store_test!(concurrent_redelivery_is_new_once, async |store: &Store| -> Outcome {
    let other = store.again().await?;
    let row = DeliveryRow { delivery_id: "d".into(), event: "ping".into(), body: None };
    let record = async |db: &pacegate_store::Db| {
        let mut tx = db.write().await?;
        let new = tx.record_delivery(&row, at(1)).await?;
        tx.commit().await?;
        Ok::<bool, pacegate_store::StoreError>(new)
    };
    let (one, two) = tokio::join!(record(&store.db), record(&other));
    assert_eq!(u8::from(one?) + u8::from(two?), 1);
    Ok(())
});

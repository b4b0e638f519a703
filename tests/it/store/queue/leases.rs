//! Leases: a job belongs to the holder of its token and attempt, as long as it shows signs of
//! life; a process that dies loses nothing but the attempt.

use super::*;

store_test!(
    a_lease_that_ends_makes_the_job_free_and_the_old_holder_powerless,
    async |store: &Store| -> Outcome {
        store.push(&[job("a")]).await?;
        let (one, two) = (store.holder(), store.holder());
        let first = one.one(at(0)).await?;
        assert_eq!(two.payloads(at(59), 10).await?, [""; 0]);
        let second = two.one(at(60)).await?;
        assert_eq!((first.attempts, second.attempts), (1, 2));
        assert_eq!(first.job_id, second.job_id);
        for settlement in [Settlement::Done, Settlement::Dead("x".into()), Settlement::Postpone(seconds(1))] {
            assert!(!one.settle(&first, settlement, at(61)).await?);
        }
        assert!(!one.settle(&second, Settlement::Done, at(61)).await?, "not with the wrong token");
        assert!(two.settle(&second, Settlement::Done, at(61)).await?);
        assert!(!two.settle(&second, Settlement::Done, at(62)).await?, "settled before");
        assert_eq!(store.counts().await?, (0, 0));
        Ok(())
    }
);

store_test!(an_attempt_is_not_settled_by_the_one_before_it, async |store: &Store| -> Outcome {
    store.push(&[job("a")]).await?;
    let holder = store.holder();
    let first = holder.one(at(0)).await?;
    // The same process takes it again: the token is equal, the attempt is not.
    let second = holder.one(at(60)).await?;
    assert!(!holder.settle(&first, Settlement::Done, at(61)).await?);
    assert!(holder.settle(&second, Settlement::Done, at(61)).await?);
    Ok(())
});

store_test!(a_lost_attempt_can_t_settle_after_the_next_one_was_postponed, async |store: &Store| -> Outcome {
    store.push(&[job("a")]).await?;
    let (one, two) = (store.holder(), store.holder());
    let lost = one.one(at(0)).await?;
    let next = two.one(at(60)).await?;
    assert!(two.settle(&next, Settlement::Postpone(seconds(1)), at(61)).await?);
    let mine = one.one(at(70)).await?;
    assert!(!one.settle(&lost, Settlement::Done, at(71)).await?);
    assert!(one.settle(&mine, Settlement::Done, at(71)).await?);
    Ok(())
});

store_test!(a_sign_of_life_keeps_exactly_what_is_held, async |store: &Store| -> Outcome {
    store.push(&["a", "b", "c", "d"].map(job)).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = one.claim(at(0), 3).await?;
    let theirs = two.claim(at(0), 1).await?;
    assert_eq!(one.keep(&mine, at(50)).await?.len(), 3);
    assert_eq!(two.payloads(at(100), 10).await?, ["d"], "only its own lease ended");
    let (done, lost) = (&mine[0], &mine[1]);
    assert!(one.settle(done, Settlement::Done, at(101)).await?);
    // `lost` is left to end.
    let third = [mine[2].clone()];
    assert_eq!(one.keep(&third, at(105)).await?.len(), 1);
    let taken = two.one(at(120)).await?;
    assert_eq!(taken.job_id, lost.job_id);
    assert_eq!(one.keep(&mine, at(130)).await?, [mine[2].payload.clone()], "done and lost are not held");
    // An attempt that was lost is not held, though its successor is, under the same token.
    assert_eq!(two.keep(&theirs, at(130)).await?, [""; 0]);
    assert_eq!(one.keep(&[], at(130)).await?, [""; 0]);
    Ok(())
});

store_test!(a_lease_that_ended_but_was_not_taken_is_still_held, async |store: &Store| -> Outcome {
    store.push(&[job("a")]).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = [one.one(at(0)).await?];
    assert_eq!(one.keep(&mine, at(80)).await?, ["a"]);
    assert_eq!(two.payloads(at(100), 1).await?, [""; 0]);
    assert!(one.settle(&mine[0], Settlement::Done, at(101)).await?);
    Ok(())
});

store_test!(a_claim_its_process_never_heard_of_is_not_kept_alive, async |store: &Store| -> Outcome {
    store.push(&["a", "unheard"].map(job)).await?;
    let (one, two) = (store.holder(), store.holder());
    // The connection broke after the commit: the process does not know of its second job.
    let known = one.claim(at(0), 1).await?;
    assert_eq!(one.claim(at(0), 1).await?.len(), 1);
    assert_eq!(one.keep(&known, at(50)).await?, ["a"]);
    assert_eq!(two.payloads(at(60), 10).await?, ["unheard"]);
    Ok(())
});

store_test!(jobs_that_are_given_back_are_as_if_never_taken, async |store: &Store| -> Outcome {
    store.push(&["a", "b", "c"].map(job)).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = one.claim(at(1), 2).await?;
    assert_eq!(two.claim(at(1), 1).await?.len(), 1);
    assert_eq!(one.release(at(5)).await?, 2);
    assert_eq!(one.release(at(5)).await?, 0);
    assert!(!one.settle(&mine[0], Settlement::Done, at(6)).await?);
    let again = two.claim(at(5), 10).await?;
    assert_eq!(again.len(), 2, "at once, and not what is held elsewhere");
    assert!(again.iter().all(|job| job.attempts == 1), "{again:?}");
    Ok(())
});

store_test!(a_job_whose_process_dies_at_every_attempt_is_buried, async |store: &Store| -> Outcome {
    store.push(&[serial("killer", "k", at(0)), serial("next", "k", at(1))]).await?;
    for attempt in 1..=3 {
        let victim = store.holder();
        assert_eq!(victim.payloads(at(attempt * 100), 10).await?, ["killer"]);
    }
    let survivor = store.holder();
    assert_eq!(survivor.payloads(at(359), 10).await?, [""; 0], "its last lease runs");
    survivor.keep(&[], at(359)).await?;
    assert_eq!(store.counts().await?, (2, 0));
    assert_eq!(survivor.payloads(at(400), 10).await?, [""; 0], "no fourth attempt");
    survivor.keep(&[], at(400)).await?;
    assert_eq!(store.counts().await?, (1, 1));
    let dead = store.read().await?.dead_jobs(10).await?;
    assert_eq!((dead[0].attempts, dead[0].kind.as_str()), (3, "tested"));
    assert!(dead[0].last_error.as_deref().is_some_and(|e| e.contains("the process ended")), "{dead:?}");
    assert_eq!(survivor.payloads(at(400), 10).await?, ["next"], "its serial key is free");
    Ok(())
});

store_test!(a_holder_that_is_alive_at_its_last_attempt_is_not_buried, async |store: &Store| -> Outcome {
    store.push(&[NewTask { max_attempts: 1, ..job("a") }]).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = [one.one(at(0)).await?];
    assert_eq!(one.keep(&mine, at(70)).await?, ["a"], "late, but it lives");
    two.keep(&[], at(100)).await?;
    assert!(one.settle(&mine[0], Settlement::Done, at(101)).await?);
    assert_eq!(store.counts().await?, (0, 0));
    Ok(())
});

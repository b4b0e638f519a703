//! Pull requests and their heads: what is stored does not depend on the order of deliveries.

use pacegate_engine::model::ids::PrNumber;
use pacegate_store::PullRequestRow;

use super::{Outcome, Store, at, sha, store_test};

fn pull_request(number: i64, is_open: bool, head: char) -> PullRequestRow {
    PullRequestRow {
        number: PrNumber(number),
        is_open,
        head_sha: sha(head),
        base_branch: "main".into(),
        base_sha: is_open.then(|| sha('f')),
        is_from_fork: number % 2 == 0,
    }
}

store_test!(heads_are_in_push_order, async |store: &Store| -> Outcome {
    // One report for each head, and a later one for the middle head.
    let reports = [('a', 10), ('b', 20), ('c', 30), ('b', 40)];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 3, 2, 0]];
    for (number, order) in (1..).zip(orders) {
        let repo = store.repository(&format!("acme/app-{number}")).await?.id;
        for place in order {
            let (digit, seen) = reports[place];
            let mut tx = store.write().await?;
            tx.record_head(repo, PrNumber(5), &sha(digit), at(seen)).await?;
            tx.commit().await?;
        }
        let heads = store.read().await?.heads_of(repo, PrNumber(5)).await?;
        assert_eq!(heads, [sha('a'), sha('b'), sha('c')], "reported in the order {order:?}");
        assert_eq!(store.read().await?.heads_of(repo, PrNumber(6)).await?, []);
    }
    Ok(())
});

store_test!(pull_request_has_githubs_latest_state, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    assert_eq!(tx.pull_request(repo, PrNumber(5)).await?, None);
    tx.record_pull_request(repo, &pull_request(5, true, 'a'), at(1)).await?;
    let closed = PullRequestRow { base_branch: "release".into(), ..pull_request(5, false, 'b') };
    tx.record_pull_request(repo, &closed, at(2)).await?;
    assert_eq!(tx.pull_request(repo, PrNumber(5)).await?, Some(closed));
    tx.commit().await
});

store_test!(head_finds_its_deciding_pull_request, async |store: &Store| -> Outcome {
    let (repo, other) = (store.repository("acme/app").await?.id, store.repository("acme/other").await?.id);
    let mut tx = store.write().await?;
    // The head `a` is an earlier one of 1 and the newest one of 2 and 3. 2 is open.
    for row in [pull_request(1, true, 'b'), pull_request(2, true, 'a'), pull_request(3, false, 'a')] {
        tx.record_pull_request(repo, &row, at(1)).await?;
        tx.record_head(repo, row.number, &sha('a'), at(1)).await?;
        tx.record_head(repo, row.number, &row.head_sha, at(2)).await?;
    }
    let found = tx.pull_request_of_head(repo, &sha('a')).await?;
    assert_eq!(found.map(|row| row.number), Some(PrNumber(2)));
    // Of two open ones the first counts: a second pull request changes nothing.
    tx.record_pull_request(repo, &pull_request(3, true, 'a'), at(3)).await?;
    let found = tx.pull_request_of_head(repo, &sha('a')).await?;
    assert_eq!(found.map(|row| row.number), Some(PrNumber(2)));
    // An earlier head still has its pull request.
    tx.record_pull_request(repo, &pull_request(3, true, 'c'), at(4)).await?;
    tx.record_pull_request(repo, &pull_request(2, false, 'd'), at(4)).await?;
    let found = tx.pull_request_of_head(repo, &sha('a')).await?;
    assert_eq!(found.map(|row| row.number), Some(PrNumber(1)));
    assert_eq!(tx.pull_request_of_head(repo, &sha('f')).await?, None);
    assert_eq!(tx.pull_request_of_head(other, &sha('a')).await?, None, "another repository's commit");
    tx.commit().await
});

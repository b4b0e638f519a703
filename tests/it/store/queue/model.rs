//! The queue against a model in memory: random sequences of pushes, claims, settlements and
//! passing time have the same effect on the table and on a list.

use std::collections::BTreeSet;

use pacegate_store::Attempt;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

const HOLDERS: usize = 3;

/// One step of a sequence. Numbers select an item, modulo the number of items.
#[derive(Debug, Clone)]
enum Step {
    Push {
        dedupe: Option<u8>,
        serial: Option<u8>,
        delay: u8,
        max_attempts: i64,
    },
    Claim {
        holder: usize,
        slots: usize,
    },
    /// Settles any earlier claim, so that late settlements occur, too.
    Settle {
        claim: usize,
        settlement: Settlement,
    },
    Keep {
        holder: usize,
    },
    Release {
        holder: usize,
    },
    Pass {
        seconds: u8,
    },
    Revive,
    Sweep {
        seconds: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let settlement = prop_oneof![
        4 => Just(Settlement::Done),
        1 => (0..40_u64).prop_map(|s| Settlement::Postpone(seconds(s))),
        1 => (0..900_i64).prop_map(|s| Settlement::PutOff(at(s), "GitHub asks to wait".to_owned())),
        2 => (0..90_u64).prop_map(|s| Settlement::Retry(seconds(s), "again".to_owned())),
        1 => Just(Settlement::Dead("never".to_owned())),
    ];
    let step = prop_oneof![
        8 => (proptest::option::of(0..4_u8), proptest::option::weighted(0.6, 0..3_u8), 0..30_u8, 1..4_i64)
            .prop_map(|(dedupe, serial, delay, max_attempts)| Step::Push { dedupe, serial, delay, max_attempts }),
        8 => (0..HOLDERS, 0..4_usize).prop_map(|(holder, slots)| Step::Claim { holder, slots }),
        8 => (any::<usize>(), settlement).prop_map(|(claim, settlement)| Step::Settle { claim, settlement }),
        4 => (0..HOLDERS).prop_map(|holder| Step::Keep { holder }),
        2 => (0..HOLDERS).prop_map(|holder| Step::Release { holder }),
        5 => (1..70_u8).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Revive),
        1 => (0..120_u8).prop_map(|seconds| Step::Sweep { seconds }),
    ];
    proptest::collection::vec(step, 1..80)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Dead,
}

/// A task of the model. Its index in the list is its payload and its age.
#[derive(Debug, Clone)]
struct Known {
    dedupe: Option<u8>,
    serial: Option<u8>,
    state: State,
    created: Timestamp,
    visible: Timestamp,
    attempts: i64,
    max_attempts: i64,
    holder: Option<usize>,
    swept: bool,
}

#[derive(Debug, Default)]
struct Model {
    tasks: Vec<Known>,
}

impl Model {
    fn claim(&mut self, holder: usize, now: Timestamp, slots: usize) -> BTreeSet<usize> {
        let open = |task: &Known| task.state == State::Open && !task.swept;
        // Of a serial key, the running task may run, else the first that is due.
        let may_run: Vec<usize> = (0..self.tasks.len())
            .filter(|&n| {
                let task = &self.tasks[n];
                let others = (0..self.tasks.len()).filter(|&m| {
                    m != n
                        && open(&self.tasks[m])
                        && task.serial.is_some()
                        && self.tasks[m].serial == task.serial
                });
                let mut others = others.map(|m| (&self.tasks[m], m));
                open(task)
                    && task.visible <= now
                    && task.attempts < task.max_attempts
                    && (task.holder.is_some()
                        || others.all(|(other, m)| {
                            other.holder.is_none() && (other.visible, m) > (task.visible, n)
                        }))
            })
            .collect();
        let mut in_order = may_run;
        in_order.sort_by_key(|&n| (self.tasks[n].visible, n));
        in_order.truncate(slots);
        for &n in &in_order {
            let task = &mut self.tasks[n];
            (task.visible, task.holder) = (now.after(LEASE), Some(holder));
            task.attempts += 1;
        }
        in_order.into_iter().collect()
    }

    fn settle(&mut self, n: usize, holder: usize, attempt: i64, how: &Settlement, now: Timestamp) -> bool {
        let task = &mut self.tasks[n];
        if task.swept || task.state != State::Open || task.holder != Some(holder) || task.attempts != attempt
        {
            return false;
        }
        task.holder = None;
        task.visible = now;
        match how {
            Settlement::Done => task.state = State::Done,
            Settlement::Postpone(after) => {
                task.visible = now.after(*after);
                task.attempts -= 1;
            }
            Settlement::PutOff(until, _) => {
                task.visible = *until;
                task.attempts -= 1;
            }
            Settlement::Retry(after, _) if task.attempts < task.max_attempts => {
                task.visible = now.after(*after);
            }
            Settlement::Retry(..) | Settlement::Dead(_) => task.state = State::Dead,
        }
        true
    }

    fn bury(&mut self, now: Timestamp) {
        for task in self.tasks.iter_mut().filter(|task| task.state == State::Open) {
            if task.visible <= now && task.attempts >= task.max_attempts {
                (task.state, task.holder, task.visible) = (State::Dead, None, now);
            }
        }
    }

    fn count(&self, state: State) -> i64 {
        let counted = self.tasks.iter().filter(|task| task.state == state && !task.swept);
        i64::try_from(counted.count()).expect("few tasks")
    }
}

/// A sequence that is applied to the table and to the model at the same times.
struct Play<'a> {
    store: &'a Store,
    holders: Vec<Holder<'a>>,
    model: Model,
    now: Timestamp,
    /// Every claim: the index of its holder, the index of the model's task, and the claim.
    claims: Vec<(usize, usize, ClaimedTask)>,
}

impl Play<'_> {
    async fn push(&mut self, known: Known) -> Outcome {
        let tasks = &mut self.model.tasks;
        let taken =
            known.dedupe.is_some() && tasks.iter().any(|task| task.dedupe == known.dedupe && !task.swept);
        let pushed = NewTask {
            dedupe_key: known.dedupe.map(|key| key.to_string()),
            serial_key: known.serial.map(|key| key.to_string()),
            run_at: known.visible,
            max_attempts: known.max_attempts,
            ..task(&tasks.len().to_string())
        };
        let mut tx = self.store.write().await?;
        assert_eq!(tx.push_task(&pushed, &self.store.rng, self.now).await?, !taken);
        tx.commit().await?;
        if !taken {
            tasks.push(known);
        }
        Ok(())
    }

    async fn keep(&mut self, holder: usize) -> Outcome {
        let all: Vec<Attempt> = self.claims.iter().map(|(_, _, task)| task.attempt()).collect();
        let token = &self.holders[holder].token;
        let held = self.store.db.keep_leases(token, &all, self.now, LEASE).await?;
        let mut expected = BTreeSet::new();
        for (_, n, task) in &self.claims {
            let known = &mut self.model.tasks[*n];
            let is_held = known.state == State::Open && known.holder == Some(holder);
            if is_held && known.attempts == task.attempts {
                known.visible = self.now.after(LEASE);
                expected.insert(task.attempt());
            }
        }
        assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), expected);
        self.model.bury(self.now);
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Outcome {
        // Each step has its own millisecond, so identifiers are in the order of pushes.
        self.now = self.now.after(Duration::from_millis(1));
        let now = self.now;
        let model = &mut self.model;
        match step {
            Step::Push { dedupe, serial, delay, max_attempts } => {
                let known = Known {
                    dedupe: *dedupe,
                    serial: *serial,
                    state: State::Open,
                    created: now,
                    visible: now.after(seconds(u64::from(*delay))),
                    attempts: 0,
                    max_attempts: *max_attempts,
                    holder: None,
                    swept: false,
                };
                self.push(known).await?;
            }
            Step::Claim { holder, slots } => {
                let claimed = self.holders[*holder].claim(now, *slots).await?;
                let place = |task: &ClaimedTask| task.payload.parse::<usize>().expect("a place in the model");
                let places: BTreeSet<usize> = claimed.iter().map(place).collect();
                assert_eq!(places, model.claim(*holder, now, *slots), "claimed at {now:?}: {model:#?}");
                for task in claimed {
                    let n = place(&task);
                    assert_eq!(task.attempts, model.tasks[n].attempts);
                    self.claims.push((*holder, n, task));
                }
            }
            Step::Settle { claim, settlement } => {
                if let Some((holder, n, task)) = self.claims.get(claim % self.claims.len().max(1)) {
                    let expected = model.settle(*n, *holder, task.attempts, settlement, now);
                    assert_eq!(self.holders[*holder].settle(task, settlement.clone(), now).await?, expected);
                }
            }
            Step::Keep { holder } => self.keep(*holder).await?,
            Step::Release { holder } => {
                let mut released = 0;
                for task in &mut model.tasks {
                    if task.state == State::Open && task.holder == Some(*holder) {
                        (task.holder, task.visible) = (None, task.created);
                        task.attempts -= 1;
                        released += 1;
                    }
                }
                assert_eq!(self.holders[*holder].release(now).await?, released);
                // A process that released its tasks ends. Its successor has another token.
                self.holders[*holder] = self.store.holder();
                self.claims.retain(|(by, _, _)| by != holder);
            }
            Step::Pass { seconds } => self.now = now.after(super::seconds(u64::from(*seconds))),
            Step::Revive => {
                let mut tx = self.store.write().await?;
                tx.revive_dead_tasks(now).await?;
                tx.commit().await?;
                for task in model.tasks.iter_mut().filter(|task| task.state == State::Dead) {
                    (task.state, task.attempts, task.visible) = (State::Open, 0, now);
                }
            }
            Step::Sweep { seconds } => {
                let before = now.before(super::seconds(u64::from(*seconds)));
                let mut tx = self.store.write().await?;
                tx.sweep_done_tasks(before).await?;
                tx.commit().await?;
                for task in &mut model.tasks {
                    task.swept |= task.state == State::Done && task.visible < before;
                }
            }
        }
        let counts = self.store.counts().await?;
        assert_eq!(counts, (self.model.count(State::Open), self.model.count(State::Dead)), "after {step:?}");
        Ok(())
    }
}

async fn play(steps: &[Step]) {
    Store::sqlite()
        .await
        .run(async |store| {
            let holders = (0..HOLDERS).map(|_| store.holder()).collect();
            let mut play = Play { store, holders, model: Model::default(), now: at(0), claims: Vec::new() };
            for step in steps {
                play.step(step).await?;
            }
            Ok(())
        })
        .await;
}

#[test]
fn queue_behaves_like_its_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let result = runner.run(&steps(), |steps| {
        runtime.block_on(play(&steps));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

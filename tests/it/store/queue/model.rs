//! The queue against a model of it: made-up sequences of pushes, claims, settlements and
//! passing time do to the table what they do to a list in memory.

use std::collections::BTreeSet;

use pacegate_store::Attempt;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

const HOLDERS: usize = 3;

/// One step of a sequence. Numbers choose among what there is, whatever it is.
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
    /// Any claim ever made, so that late settlements come too.
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

/// A job of the model; its place in the list is its payload and its age.
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
    jobs: Vec<Known>,
}

impl Model {
    fn claim(&mut self, holder: usize, now: Timestamp, slots: usize) -> BTreeSet<usize> {
        let open = |job: &Known| job.state == State::Open && !job.swept;
        // Of a serial key: what runs, else what is due first.
        let may_run: Vec<usize> = (0..self.jobs.len())
            .filter(|&n| {
                let job = &self.jobs[n];
                let others = (0..self.jobs.len()).filter(|&m| {
                    m != n && open(&self.jobs[m]) && job.serial.is_some() && self.jobs[m].serial == job.serial
                });
                let mut others = others.map(|m| (&self.jobs[m], m));
                open(job)
                    && job.visible <= now
                    && job.attempts < job.max_attempts
                    && (job.holder.is_some()
                        || others.all(|(other, m)| {
                            other.holder.is_none() && (other.visible, m) > (job.visible, n)
                        }))
            })
            .collect();
        let mut in_order = may_run;
        in_order.sort_by_key(|&n| (self.jobs[n].visible, n));
        in_order.truncate(slots);
        for &n in &in_order {
            let job = &mut self.jobs[n];
            (job.visible, job.holder) = (now.after(LEASE), Some(holder));
            job.attempts += 1;
        }
        in_order.into_iter().collect()
    }

    fn settle(&mut self, n: usize, holder: usize, attempt: i64, how: &Settlement, now: Timestamp) -> bool {
        let job = &mut self.jobs[n];
        if job.swept || job.state != State::Open || job.holder != Some(holder) || job.attempts != attempt {
            return false;
        }
        job.holder = None;
        job.visible = now;
        match how {
            Settlement::Done => job.state = State::Done,
            Settlement::Postpone(after) => {
                job.visible = now.after(*after);
                job.attempts -= 1;
            }
            Settlement::PutOff(until, _) => {
                job.visible = *until;
                job.attempts -= 1;
            }
            Settlement::Retry(after, _) if job.attempts < job.max_attempts => job.visible = now.after(*after),
            Settlement::Retry(..) | Settlement::Dead(_) => job.state = State::Dead,
        }
        true
    }

    fn bury(&mut self, now: Timestamp) {
        for job in self.jobs.iter_mut().filter(|job| job.state == State::Open) {
            if job.visible <= now && job.attempts >= job.max_attempts {
                (job.state, job.holder, job.visible) = (State::Dead, None, now);
            }
        }
    }

    fn count(&self, state: State) -> i64 {
        let counted = self.jobs.iter().filter(|job| job.state == state && !job.swept);
        i64::try_from(counted.count()).expect("few jobs")
    }
}

/// A sequence as it is played: the table, the model and the time that both are told.
struct Play<'a> {
    store: &'a Store,
    holders: Vec<Holder<'a>>,
    model: Model,
    now: Timestamp,
    /// Every claim ever made: by whom, and which job of the model.
    claims: Vec<(usize, usize, ClaimedTask)>,
}

impl Play<'_> {
    async fn push(&mut self, known: Known) -> Outcome {
        let jobs = &mut self.model.jobs;
        let taken = known.dedupe.is_some() && jobs.iter().any(|job| job.dedupe == known.dedupe && !job.swept);
        let pushed = NewTask {
            dedupe_key: known.dedupe.map(|key| key.to_string()),
            serial_key: known.serial.map(|key| key.to_string()),
            run_at: known.visible,
            max_attempts: known.max_attempts,
            ..job(&jobs.len().to_string())
        };
        let mut tx = self.store.write().await?;
        assert_eq!(tx.push_task(&pushed, &self.store.rng, self.now).await?, !taken);
        tx.commit().await?;
        if !taken {
            jobs.push(known);
        }
        Ok(())
    }

    async fn keep(&mut self, holder: usize) -> Outcome {
        let all: Vec<Attempt> = self.claims.iter().map(|(_, _, job)| job.attempt()).collect();
        let token = &self.holders[holder].token;
        let held = self.store.db.keep_leases(token, &all, self.now, LEASE).await?;
        let mut expected = BTreeSet::new();
        for (_, n, job) in &self.claims {
            let known = &mut self.model.jobs[*n];
            let is_held = known.state == State::Open && known.holder == Some(holder);
            if is_held && known.attempts == job.attempts {
                known.visible = self.now.after(LEASE);
                expected.insert(job.attempt());
            }
        }
        assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), expected);
        self.model.bury(self.now);
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Outcome {
        // Every step has a millisecond of its own, so identifiers are in the order of pushes.
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
                let place = |job: &ClaimedTask| job.payload.parse::<usize>().expect("a place in the model");
                let places: BTreeSet<usize> = claimed.iter().map(place).collect();
                assert_eq!(places, model.claim(*holder, now, *slots), "claimed at {now:?}: {model:#?}");
                for job in claimed {
                    let n = place(&job);
                    assert_eq!(job.attempts, model.jobs[n].attempts);
                    self.claims.push((*holder, n, job));
                }
            }
            Step::Settle { claim, settlement } => {
                if let Some((holder, n, job)) = self.claims.get(claim % self.claims.len().max(1)) {
                    let expected = model.settle(*n, *holder, job.attempts, settlement, now);
                    assert_eq!(self.holders[*holder].settle(job, settlement.clone(), now).await?, expected);
                }
            }
            Step::Keep { holder } => self.keep(*holder).await?,
            Step::Release { holder } => {
                let mut released = 0;
                for job in &mut model.jobs {
                    if job.state == State::Open && job.holder == Some(*holder) {
                        (job.holder, job.visible) = (None, job.created);
                        job.attempts -= 1;
                        released += 1;
                    }
                }
                assert_eq!(self.holders[*holder].release(now).await?, released);
                // A process that gave its jobs back is gone; its successor has another token.
                self.holders[*holder] = self.store.holder();
                self.claims.retain(|(by, _, _)| by != holder);
            }
            Step::Pass { seconds } => self.now = now.after(super::seconds(u64::from(*seconds))),
            Step::Revive => {
                let mut tx = self.store.write().await?;
                tx.revive_dead_tasks(now).await?;
                tx.commit().await?;
                for job in model.jobs.iter_mut().filter(|job| job.state == State::Dead) {
                    (job.state, job.attempts, job.visible) = (State::Open, 0, now);
                }
            }
            Step::Sweep { seconds } => {
                let before = now.before(super::seconds(u64::from(*seconds)));
                let mut tx = self.store.write().await?;
                tx.sweep_done_tasks(before).await?;
                tx.commit().await?;
                for job in &mut model.jobs {
                    job.swept |= job.state == State::Done && job.visible < before;
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
fn the_queue_does_what_its_model_does() {
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

// SPDX-License-Identifier: GPL-3.0-or-later
//! Attempts and their leases: what silence proves, whose word counts, what comes too late, and
//! what an answer that got lost leads to. One live attempt per task rests on these.

mod common;

use common::{Ride, report, task_id};
use tablao_core::{
    Answer, AttemptId, Event, JobId, JobStatus as J, Refusal, Request, TaskId, TaskStatus as T,
    Timestamp, WorkerId, WorkerStatus,
    entity::{AttemptState, Protocol},
    event::{AttemptOutcome, LateReport},
    request::Report,
};

/// One worker of this protocol with one task in hand, not yet started.
fn handed_out(protocol: Protocol) -> (Ride, WorkerId, JobId, TaskId) {
    let mut ride = Ride::new();
    let worker = ride.worker(1, protocol, &["misc"]);
    let job = ride.submit(1, &[("misc", 50, &[]), ("misc", 40, &[])]);
    let task = ride.next(worker).expect("there is a task");
    assert_eq!(task, task_id(job, 0));
    (ride, worker, job, task)
}

fn lapse(ride: &mut Ride, attempt: AttemptId, silent_since: Timestamp) -> Vec<Event> {
    ride.granted(&Request::LapseAttempts {
        evidence: vec![(attempt, silent_since)],
    })
    .events
}

fn said(ride: &mut Ride, worker: WorkerId, task: TaskId, attempt: AttemptId, status: T) -> Answer {
    ride.granted(&Request::Report {
        report: Box::new(Report {
            attempt: Some(attempt),
            status: Some(status),
            ..report(worker, task)
        }),
    })
    .answer
}

/// Protects running work: a lease ends at its last millisecond and not before, an attempt that
/// never started much earlier, and the evidence stands in the record.
#[test]
fn silence_ends_an_attempt_at_its_bound() {
    // Protocol, started, how long it may be silent.
    let rows = [
        (Protocol::Tablao, false, 10_000),
        (Protocol::Tablao, true, 30_000),
        (Protocol::Flamenco, false, 600_000),
        (Protocol::Flamenco, true, 600_000),
    ];
    for (protocol, started, bound_ms) in rows {
        let (mut ride, worker, job, task) = handed_out(protocol);
        if started {
            ride.says(worker, task, T::Active);
        }
        let (attempt, since) = (ride.attempt(task).id, ride.now);
        ride.wait_ms(bound_ms - 1);
        assert!(
            lapse(&mut ride, attempt, since).is_empty(),
            "{protocol:?} {started}"
        );
        ride.wait_ms(1);
        let events = lapse(&mut ride, attempt, since);
        let ended = events.iter().find_map(|event| match event {
            Event::AttemptEnded(ended) => Some(ended),
            _ => None,
        });
        let ended = ended.expect("it lapses");
        assert_eq!(ended.outcome, AttemptOutcome::Lapsed);
        assert_eq!(ended.silent_since, Some(since));
        assert!(
            !ended.counts_as_failure,
            "silence is no failure of the task"
        );
        assert_eq!(ride.statuses(job)[0], T::Queued);
        assert!(
            lapse(&mut ride, attempt, since).is_empty(),
            "it ended already"
        );
    }
}

/// Protects a farm after a restart: the evidence decides, not the age of the attempt, so a
/// grace period is no more than evidence that begins at the restart.
#[test]
fn evidence_counts_and_not_age() {
    let (mut ride, _, _, task) = handed_out(Protocol::Tablao);
    let attempt = ride.attempt(task).id;
    ride.wait_ms(3_600_000);
    let restarted = ride.now;
    ride.wait_ms(9_999);
    assert!(lapse(&mut ride, attempt, restarted).is_empty());
}

/// Protects against a tick that names the same attempt twice: it ends once.
#[test]
fn evidence_given_twice_ends_once() {
    let (mut ride, worker, job, task) = handed_out(Protocol::Tablao);
    let (attempt, since) = (ride.attempt(task).id, ride.now);
    ride.wait_ms(60_000);
    let heard = ride.granted(&Request::LapseAttempts {
        evidence: vec![(attempt, since), (attempt, since)],
    });
    let ended = |event: &&Event| matches!(event, Event::AttemptEnded(_));
    assert_eq!(heard.events.iter().filter(ended).count(), 1);
    assert_eq!(ride.job(job).live, 0);
    let heard = ride.granted(&Request::LoseWorkers {
        evidence: vec![(worker, since), (worker, since)],
    });
    let lost = |event: &&Event| matches!(event, Event::WorkerLost(_));
    assert_eq!(heard.events.iter().filter(lost).count(), 1);
}

/// Protects a studio that wants no timeouts: zero switches them off.
#[test]
fn zero_is_no_bound() {
    let (mut ride, worker, ..) = handed_out(Protocol::Tablao);
    let mut policy = ride.farm.policy().clone();
    (policy.task_timeout_ms, policy.worker_timeout_ms) = (0, 0);
    ride.granted(&Request::ApplyConfig {
        policy,
        text: String::new(),
    });
    let other = ride.worker(2, Protocol::Flamenco, &["misc"]);
    let task = ride.next(other).expect("there is a second task");
    let (attempt, since) = (ride.attempt(task).id, ride.now);
    ride.wait_ms(30 * 24 * 3_600_000);
    assert!(lapse(&mut ride, attempt, since).is_empty());
    let heard = ride.granted(&Request::LoseWorkers {
        evidence: vec![(worker, since), (other, since)],
    });
    assert!(heard.events.is_empty());
}

/// Protects the hand-out: when its answer got lost, the worker's next ask gives the same task
/// and the same attempt, before anything better, and nothing new is recorded.
#[test]
fn a_lost_answer_is_given_again() {
    for protocol in [Protocol::Flamenco, Protocol::Tablao] {
        let (mut ride, worker, _, task) = handed_out(protocol);
        let attempt = ride.attempt(task).id;
        ride.submit(2, &[("misc", 99, &[])]);
        let heard = ride.granted(&Request::AskForTask { worker });
        assert!(heard.events.is_empty());
        assert!(matches!(
            heard.answer,
            Answer::Assigned { attempt: again, task: same, .. } if again == attempt && same == task
        ));
    }
}

/// Protects a worker that was killed: after sign-on a Flamenco worker gets its task again, and
/// ours loses what it no longer holds and keeps what it does.
#[test]
fn what_a_worker_holds_after_it_signs_on_again() {
    let awake = |ride: &mut Ride, worker: WorkerId| {
        ride.granted(&Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Awake,
        });
    };
    let (mut ride, worker, _, task) = handed_out(Protocol::Flamenco);
    ride.says(worker, task, T::Active);
    ride.sign_on(worker, Protocol::Flamenco, &["misc"], &[]);
    awake(&mut ride, worker);
    assert_eq!(ride.next(worker), Some(task));

    let (mut ride, worker, job, task) = handed_out(Protocol::Tablao);
    let attempt = ride.attempt(task).id;
    ride.sign_on(worker, Protocol::Tablao, &["misc"], &[attempt]);
    assert_eq!(ride.attempt(task).id, attempt, "it still holds it");
    ride.sign_on(worker, Protocol::Tablao, &["misc"], &[]);
    assert_eq!(ride.statuses(job)[0], T::Queued, "it lost it");
}

/// Protects one frame from two workers: after a lapse the old attempt's words change nothing,
/// whatever they are, and those of the new attempt count.
#[test]
fn a_superseded_attempt_has_no_say() {
    let (mut ride, first, job, task) = handed_out(Protocol::Tablao);
    ride.says(first, task, T::Active);
    let (old, since) = (ride.attempt(task).id, ride.now);
    ride.wait_ms(30_000);
    lapse(&mut ride, old, since);
    let second = ride.worker(2, Protocol::Tablao, &["misc"]);
    assert_eq!(ride.next(second), Some(task));
    let new = ride.attempt(task).id;
    assert!(new > old, "attempts are ordered by their fence");
    for (status, noted) in [
        (T::Active, LateReport::Started),
        (T::Completed, LateReport::Completed),
        (T::Failed, LateReport::Failed),
    ] {
        let before = ride.farm.digest();
        let answer = said(&mut ride, first, task, old, status);
        assert_eq!(answer, Answer::Late);
        assert_eq!(ride.farm.digest(), before, "late {status} changes nothing");
        let last = &ride.records.last().expect("it is recorded").event;
        assert!(matches!(last, Event::LateReportNoted(late) if late.report == noted));
        assert_eq!(ride.statuses(job)[0], T::Active);
    }
    assert_eq!(
        said(&mut ride, second, task, new, T::Completed),
        Answer::Done
    );
    assert_eq!(ride.statuses(job)[0], T::Completed);
}

/// Protects a Flamenco worker's second attempt at the same task: until it says that it started,
/// what it says belongs to the attempt before.
#[test]
fn a_flamenco_workers_words_belong_to_the_attempt_it_started() {
    let (mut ride, worker, job, task) = handed_out(Protocol::Flamenco);
    ride.says(worker, task, T::Active);
    let (old, since) = (ride.attempt(task).id, ride.now);
    ride.wait_ms(600_000);
    lapse(&mut ride, old, since);
    assert_eq!(ride.next(worker), Some(task));
    // Its buffer of unsent updates comes through at last.
    for status in [T::Completed, T::Failed] {
        assert_eq!(ride.says(worker, task, status).answer, Answer::Late);
        assert_eq!(ride.attempt(task).state, AttemptState::Assigned);
    }
    ride.says(worker, task, T::Active);
    assert_eq!(ride.attempt(task).state, AttemptState::Running);
    ride.says(worker, task, T::Completed);
    assert_eq!(ride.statuses(job)[0], T::Completed);
}

/// Protects a first attempt: there is none before it, so a worker that says `completed` without
/// having said `active` is believed.
#[test]
fn a_first_attempt_may_skip_its_first_word() {
    let (mut ride, worker, job, task) = handed_out(Protocol::Flamenco);
    assert_eq!(ride.says(worker, task, T::Completed).answer, Answer::Done);
    assert_eq!(ride.statuses(job)[0], T::Completed);
}

/// Protects retries: the report that ended an attempt may come again, because its answer got
/// lost; it is answered as before, and nothing is recorded.
#[test]
fn the_same_report_again_is_fine() {
    let (mut ride, worker, job, task) = handed_out(Protocol::Tablao);
    let attempt = ride.attempt(task).id;
    assert_eq!(
        said(&mut ride, worker, task, attempt, T::Completed),
        Answer::Done
    );
    let records = ride.records.len();
    assert_eq!(
        said(&mut ride, worker, task, attempt, T::Completed),
        Answer::Done
    );
    assert_eq!(ride.records.len(), records);
    assert_eq!(ride.statuses(job)[0], T::Completed);
}

/// Protects tasks from workers that have no business with them.
#[test]
fn only_who_runs_a_task_may_report_it() {
    let (mut ride, _, job, task) = handed_out(Protocol::Flamenco);
    let stranger = ride.worker(2, Protocol::Flamenco, &["blender"]);
    let before = ride.farm.digest();
    assert_eq!(ride.says(stranger, task, T::Completed).answer, Answer::Late);
    assert_eq!(ride.farm.digest(), before);
    let untouched = Request::Report {
        report: Box::new(Report {
            status: Some(T::Completed),
            ..report(stranger, task_id(job, 1))
        }),
    };
    let refusal = ride.ask(&untouched).expect_err("nobody ever ran it");
    assert!(matches!(refusal, Refusal::NotAssigned { .. }));
}

/// Protects cancelling: the job waits for the worker's own word, for its next ask, or for its
/// lease to lapse, and says `cancel-requested` until one of them has come.
#[test]
fn cancelling_waits_for_word_ask_or_lapse() {
    for way in ["word", "ask", "lapse"] {
        let (mut ride, worker, job, task) = handed_out(Protocol::Flamenco);
        ride.says(worker, task, T::Active);
        let (attempt, since) = (ride.attempt(task).id, ride.now);
        ride.set_job(job, J::CancelRequested).expect("it runs");
        assert_eq!(ride.job_status(job), J::CancelRequested);
        assert_eq!(ride.statuses(job), [T::Active, T::Canceled]);
        assert_eq!(ride.attempt(task).state, AttemptState::Stopping);
        match way {
            "word" => {
                ride.says(worker, task, T::Canceled);
            }
            "ask" => assert_eq!(ride.next(worker), None),
            _ => {
                ride.wait_ms(600_000);
                lapse(&mut ride, attempt, since);
            }
        }
        assert_eq!(ride.job_status(job), J::Canceled, "by {way}");
        assert_eq!(ride.statuses(job), [T::Canceled, T::Canceled]);
    }
}

/// Protects work in a worker that goes away in order: it is queued again at once, with no mark
/// against the worker; paused where the job is being paused.
#[test]
fn a_worker_that_goes_gives_its_task_back() {
    let away: [fn(WorkerId) -> Request; 3] = [
        |worker| Request::SignOff { worker },
        |worker| Request::DeleteWorker { worker },
        |worker| Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Asleep,
        },
    ];
    for request in away {
        for (pause, becomes) in [(false, T::Queued), (true, T::Paused)] {
            let (mut ride, worker, job, task) = handed_out(Protocol::Flamenco);
            ride.says(worker, task, T::Active);
            if pause {
                ride.set_job(job, J::PauseRequested).expect("it runs");
            }
            ride.granted(&request(worker));
            assert_eq!(ride.statuses(job)[0], becomes);
            assert!(ride.task(task).failed_by.is_empty());
            assert!(ride.worker_state(worker).attempts.is_empty());
        }
    }
}

/// Protects idempotency: a submission that comes twice with one key is one job.
#[test]
fn a_key_stands_for_one_job() {
    let mut ride = Ride::new();
    ride.key = Some([1; 32]);
    let job = ride.submit(1, &[("misc", 50, &[])]);
    ride.key = Some([1; 32]);
    let again = ride.granted(&Request::SubmitJob {
        job: common::new_job(
            common::facts(common::job_id(2), 1),
            common::chunk(common::job_id(2), 0, &[("misc", 50, &[])]),
        ),
    });
    assert_eq!(again.answer, Answer::Job(job));
    assert!(again.events.is_empty());
    assert_eq!(ride.farm.jobs().len(), 1);
}

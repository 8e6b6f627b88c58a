// SPDX-License-Identifier: GPL-3.0-or-later
//! The link between a Server and a Manager: who is let in, what is taken over, what is carried
//! out, and where both go on after a crash. Each refusal says what to do and changes nothing.

mod hierarchy;

use hierarchy::{Above, Below, JournalFolder, image, settled, until, verify, wait_until_level};
use serde_json::{Value, json};
use tablao_core::{
    Actor, ActorKind, Event, Request, Via, codec, decide::Asker, entity::RemoteVerb,
    request::NewJob,
};
use tablao_net::{
    data_dir::{MIRRORS, SITE_JOURNAL},
    engine::Ask,
    submission,
};

const SITE: &str = "/api/farm/v1/replication/site";

/// Protects a Server from strangers: no token, a wrong one, one that was used by another, a wrong
/// key, another's key. The right key goes on being good, also with the used-up token beside it,
/// because the answer to the first greeting may have got lost.
#[test]
fn only_a_linked_manager_is_let_in() {
    let above = Above::new();
    let (below, other) = (Below::new(&above), Below::new(&above));
    let refused = |hello: &tablao_net::link::Hello| {
        let answer = above.greet(hello);
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.message().contains("link-token"), "{}", answer.body);
        assert!(above.node.control.model().farm().managers().len() <= 1);
    };
    refused(&below.hello(None));
    refused(&below.hello(Some("tlk_wrong".to_owned())));

    let token = above.token();
    let hello = below.hello(Some(token.clone()));
    assert_eq!(above.greet(&hello).status, 200);
    assert_eq!(
        above.greet(&hello).status,
        200,
        "the answer may have got lost"
    );
    assert_eq!(above.greet(&below.hello(None)).status, 200);
    refused(&other.hello(Some(token)));
    let mut wrong_key = below.hello(None);
    wrong_key.key = "x".repeat(64);
    refused(&wrong_key);
    let body = serde_json::to_vec(&other.hello(None)).unwrap();
    let path = "/api/farm/v1/replication/hello";
    let answer = above.post_as(below.node.manager(), &"k".repeat(64), path, body);
    assert_eq!(answer.status, 401, "one's key is not another's");
    let answer = above.post_as(below.node.manager(), "no key", SITE, below.batches(1));
    assert_eq!(answer.status, 401);

    let mut short = below.hello(Some(above.token()));
    short.key = "short".to_owned();
    assert_eq!(above.greet(&short).status, 400);
}

/// Protects a farm from a Manager that was sent away: its key opens nothing any more, and it is
/// told so; a new token lets it in again.
#[test]
fn a_revoked_manager_is_refused_until_it_has_a_new_token() {
    let above = Above::new();
    let below = Below::new(&above);
    let hello = below.hello(Some(above.token()));
    assert_eq!(above.greet(&hello).status, 200);
    let manager = below.node.manager();
    let reason = "sold".to_owned();
    let revoke = Ask::system(Request::RevokeManager { manager, reason });
    below
        .block_on(above.node.control.ask(revoke))
        .unwrap()
        .unwrap();
    for answer in [
        above.greet(&below.hello(None)),
        above.post_as(manager, &hello.key, SITE, below.batches(1)),
    ] {
        assert_eq!(answer.status, 401);
        assert!(answer.message().contains("revoked"), "{}", answer.body);
    }
    assert_eq!(above.greet(&below.hello(Some(above.token()))).status, 200);
    let answer = above.post_as(manager, &hello.key, SITE, below.batches(1));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Protects a mirror from bytes that do not continue it: cut off, changed, out of turn, of
/// another journal, of another history. Nothing is written; a repeated push does no harm.
#[test]
fn only_what_continues_a_mirror_is_taken_over() {
    let above = Above::new();
    let below = Below::new(&above);
    let manager = below.node.manager();
    let twin_folder = image(below.folder.path());
    let hello = below.hello(Some(above.token()));
    assert_eq!(above.greet(&hello).status, 200);
    let push = |bytes: Vec<u8>| above.post_as(manager, &hello.key, SITE, bytes);

    let bytes = below.batches(1);
    let first = push(bytes.clone());
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.body["next"].as_u64(), Some(hello.site_next));
    let again = push(bytes.clone());
    assert_eq!((again.status, &again.body), (200, &first.body));

    let tag = |name: &str| {
        let (name, description) = (name.to_owned(), String::new());
        let tag = tablao_core::TagId::new(tablao_net::clock::new_id());
        Ask::system(Request::CreateTag {
            tag,
            name,
            description,
        })
    };
    let create = |below: &Below, name: &str| {
        let engine = below.node.site.as_ref().unwrap();
        below.block_on(engine.ask(tag(name))).unwrap().unwrap();
    };
    create(&below, "one");
    assert_eq!(push(below.batches(hello.site_next)).status, 200);
    create(&below, "two");
    create(&below, "three");
    let twin = Below::on(twin_folder, None);
    create(&twin, "another history");
    let stranger = Below::new(&above);

    let more = below.batches(hello.site_next);
    let last = below.batches(below.hello(None).site_next - 1);
    let mut flipped = more.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let before = above.mirror(manager);
    let file = |above: &Above| {
        let folder = above.folder.path().join(MIRRORS).join(manager.to_string());
        std::fs::read(folder.join("00000000000000000001.seg")).unwrap()
    };
    let bytes_before = file(&above);
    for (what, bytes) in [
        ("cut off", more[..more.len() - 1].to_vec()),
        ("changed", flipped),
        ("out of turn", last),
        ("of another journal", stranger.batches(1)),
        ("of another history", twin.batches(hello.site_next)),
        ("garbage", b"no journal at all".to_vec()),
    ] {
        let answer = push(bytes);
        assert_eq!(answer.status, 409, "{what}: {}", answer.body);
        assert!(
            answer.message().contains("nothing of it"),
            "{}",
            answer.body
        );
        assert_eq!(above.mirror(manager), before, "{what}");
        assert_eq!(file(&above), bytes_before, "{what}");
    }
    assert_eq!(
        push(more).status,
        200,
        "a refused push does not spoil the next one"
    );
    assert_eq!(above.mirror(manager).chain, below.site_end().chain);
}

/// Protects a mirror from a Manager that begins anew under its old name: refused, told what to do.
#[test]
fn a_manager_with_another_site_journal_is_refused() {
    let above = Above::new();
    let below = Below::new(&above);
    below.link();
    wait_until_level(&above, &below);
    above.submit("1-2");
    wait_until_level(&above, &below);
    let manager = below.node.manager();
    let mirror = above.mirror(manager);
    let folder = below.end();
    std::fs::remove_dir_all(folder.path().join(SITE_JOURNAL)).unwrap();
    let below = Below::again(folder, &above);
    below.link();
    let trouble = until("the refusal", || below.node.link.trouble());
    assert!(trouble.contains("another site journal"), "{trouble}");
    assert!(trouble.contains("Bring back"), "{trouble}");
    assert_eq!(above.mirror(manager), mirror);
    // After a restart of the Server it is no different.
    let above = Above::on(above.end());
    let below = Below::again(below.end(), &above);
    below.link();
    let trouble = until("the refusal", || below.node.link.trouble());
    assert!(trouble.contains("another site journal"), "{trouble}");
    assert_eq!(above.mirror(manager), mirror);
}

/// What the Server wants said to the Manager's engine, as the link would.
fn actor() -> (Actor, Asker) {
    let kind = ActorKind::User;
    let (id, via) = (None, Via::Replication);
    (Actor { kind, id, via }, Asker::default())
}

/// The submission that the Server placed.
fn placed(above: &Above, below: &Below) -> NewJob {
    let placed = above
        .control()
        .into_iter()
        .find_map(|recorded| match recorded.event {
            Event::JobPlaced(facts) => Some(facts),
            _ => None,
        });
    let bytes = above
        .node
        .blobs
        .get(&placed.expect("a placement").submission);
    let bytes = bytes.expect("a blob is on disk before its placement");
    let mut job: NewJob = codec::from_bytes(&bytes).expect("a submission");
    job.facts.manager = below.node.manager();
    job
}

/// Protects a placed job from a crash between its acceptance and its settlement, also when it is
/// large and only half of it was written down: it is there once, whole, and settled once.
#[test]
fn a_placement_that_was_cut_off_goes_on_where_it_stopped() {
    for (frames, pieces) in [("1-3", 1), ("1-4000", 3)] {
        let above = Above::new();
        let below = Below::new(&above);
        below.link();
        wait_until_level(&above, &below);
        let folder = below.end();
        let id = above.submit(frames);

        let below = Below::again(folder, &above);
        let (engine, job) = (below.node.site.clone().unwrap(), placed(&above, &below));
        let tasks = job.chunk.tasks.len();
        let ask = |request| {
            let (actor, asker) = actor();
            below
                .block_on(engine.ask(Ask::new(request, actor, asker)))
                .unwrap()
                .unwrap();
        };
        let mut parts = submission::split(job.chunk.clone());
        assert!(parts.len() >= pieces, "{} pieces", parts.len());
        if pieces == 1 {
            ask(Request::SubmitJob { job: Box::new(job) });
        } else {
            let (job_id, mut head) = (job.facts.job, job);
            head.chunk = Default::default();
            ask(Request::AcceptJob {
                job: Box::new(head),
            });
            let chunk = Box::new(parts.remove(0));
            ask(Request::AddTasks { job: job_id, chunk });
        }
        // The crash: nothing of it was settled or sent.
        let crashed = image(below.folder.path());
        below.end();
        let below = Below::again(crashed, &above);
        below.link();
        wait_until_level(&above, &below);
        let records = below.site();
        let count = |is: fn(&Event) -> bool| records.iter().filter(|one| is(&one.event)).count();
        assert_eq!(count(|event| matches!(event, Event::JobAccepted(_))), 1);
        assert_eq!(count(|event| matches!(event, Event::JobReady(_))), 1);
        assert_eq!(count(|event| matches!(event, Event::JobAbandoned(_))), 0);
        assert_eq!(settled(&records), (1, 0));
        let engine = below.node.site.as_ref().unwrap();
        let model = engine.model();
        let job = model.farm().jobs().values().next().unwrap();
        assert_eq!(job.state.facts.job.to_string(), id);
        assert_eq!(job.tasks.len(), tasks);
    }
}

/// Protects a job from a wish that is carried out twice: what is settled is settled, whoever
/// asks again; and a wish that the job refuses is settled too, with the reason, and holds up
/// nothing behind it.
#[test]
fn a_wish_is_carried_out_once_and_a_refused_one_is_settled() {
    let above = Above::new();
    let below = Below::new(&above);
    below.link();
    wait_until_level(&above, &below);
    let job = above.submit("1-2");
    wait_until_level(&above, &below);
    let wish = |path: &str, body: serde_json::Value| {
        let answer = above.post(&format!("/api/v3/jobs/{job}/{path}"), &body);
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    wish(
        "setstatus",
        json!({ "status": "completed", "reason": "cannot be wished" }),
    );
    wish("setpriority", json!({ "priority": 77 }));
    wait_until_level(&above, &below);
    let records = below.site();
    assert_eq!(
        settled(&records),
        (3, 1),
        "the placement, a refusal, a priority"
    );

    let (actor, asker) = actor();
    let settled_to = below.node.site.as_ref().unwrap().model().farm().settled();
    let again = Request::CarryOut {
        control: settled_to,
        job: job.parse().unwrap(),
        verb: RemoteVerb::SetPriority(12),
        reason: String::new(),
    };
    let engine = below.node.site.as_ref().unwrap();
    let reply = below.block_on(engine.ask(Ask::new(again, actor, asker)));
    reply.unwrap().unwrap();
    assert_eq!(below.site().len(), records.len(), "nothing is written");
}

/// Protects people at the Server from dead ends: a job that waits for a Manager that is away is
/// shown and can be canceled, and one that was submitted at its Manager can be too.
#[test]
fn jobs_that_are_elsewhere_can_be_spoken_of() {
    let above = Above::new();
    let empty = above.post(
        "/api/v3/jobs",
        &json!({
            "name": "nowhere", "type": "echo-sleep-test", "submitter_platform": "linux",
            "settings": { "message": "m", "sleep_duration_seconds": 0, "sleep_repeats": 1 },
        }),
    );
    assert_eq!(empty.status, 404, "{}", empty.body);
    assert!(empty.message().contains("--link-token"), "{}", empty.body);

    let below = Below::new(&above);
    below.link();
    wait_until_level(&above, &below);
    let folder = below.end();
    let waiting = above.submit("1-2");
    let answer = above.post(
        &format!("/api/v3/jobs/{waiting}/setstatus"),
        &json!({ "status": "cancel-requested", "reason": "changed my mind" }),
    );
    assert_eq!(answer.status, 204, "{}", answer.body);
    let below = Below::again(folder, &above);
    below.link();
    wait_until_level(&above, &below);
    let status = |id: &str| {
        let model = below.node.site.as_ref().unwrap().model();
        let job = model.farm().jobs().get(&id.parse().unwrap()).unwrap();
        job.state.status.to_string()
    };
    assert_eq!(status(&waiting), "canceled");

    let (actor, asker) = actor();
    let mut own = placed(&above, &below);
    own.facts.job = tablao_core::JobId::new(tablao_net::clock::new_id());
    own.facts.source = tablao_core::entity::JobSource::Submitted;
    let mut tasks = own.chunk.tasks.to_vec();
    for task in &mut tasks {
        task.uuid = tablao_core::TaskId::new(tablao_net::clock::new_id());
    }
    own.chunk.tasks = tasks.into();
    let own_id = own.facts.job.to_string();
    let engine = below.node.site.clone().unwrap();
    let accepted = below.node.accept_job(&engine, own, actor, asker, None);
    below.block_on(accepted).unwrap().unwrap();
    wait_until_level(&above, &below);
    let answer = above.post(
        &format!("/api/v3/jobs/{own_id}/setstatus"),
        &json!({ "status": "cancel-requested", "reason": "from above" }),
    );
    assert_eq!(answer.status, 204, "{}", answer.body);
    wait_until_level(&above, &below);
    assert_eq!(status(&own_id), "canceled");

    // What cannot be asked for through the Server says where it can.
    let task = {
        let model = below.node.site.as_ref().unwrap().model();
        let job = own_id.parse().unwrap();
        model.tasks(job).next().unwrap().task.uuid
    };
    let entry = json!([{ "worker_id": own_id, "task_type": "blender" }]);
    let wish = json!({ "status": "queued", "reason": "again" });
    let calls = [
        ("DELETE", format!("jobs/{own_id}"), &Value::Null),
        ("DELETE", format!("jobs/{own_id}/blocklist"), &entry),
        ("POST", format!("jobs/{own_id}/settag"), &json!({})),
        ("POST", format!("tasks/{task}/setstatus"), &wish),
    ];
    for (method, path, body) in calls {
        let answer = above.call(method, &format!("/api/v3/{path}"), body);
        assert_eq!(answer.status, 501, "{path}: {}", answer.body);
        assert!(answer.message().contains("Manager"), "{}", answer.body);
    }
}

/// Protects both histories at a restart from copies of any two moments. Of the same moment: the
/// link goes on. One side older than what the other has seen of it: refused with what to do, and
/// neither side's copy is touched.
#[test]
fn both_sides_go_on_from_the_same_moment_and_refuse_an_older_one() {
    let above = Above::new();
    let below = Below::new(&above);
    below.link();
    wait_until_level(&above, &below);
    let mut moments = Vec::new();
    for step in 0..3 {
        let job = above.submit("1-2");
        let path = format!("/api/v3/jobs/{job}/setpriority");
        let answer = above.post(&path, &json!({ "priority": 60 + step }));
        assert_eq!(answer.status, 204, "{}", answer.body);
        wait_until_level(&above, &below);
        moments.push((image(above.folder.path()), image(below.folder.path())));
    }
    let manager = below.node.manager();
    below.end();
    above.end();
    for server in 0..moments.len() {
        for site in 0..moments.len() {
            let above = Above::on(image(moments[server].0.path()));
            let below = Below::again(image(moments[site].1.path()), &above);
            let mirror = above.mirror(manager);
            below.link();
            if server == site {
                above.submit("1-2");
                wait_until_level(&above, &below);
                assert_eq!(settled(&below.site()), (2 * server + 3, 0));
                continue;
            }
            let trouble = until("the refusal", || below.node.link.trouble());
            assert!(trouble.contains("restored from an older copy"), "{trouble}");
            assert!(trouble.to_lowercase().contains("bring back"), "{trouble}");
            assert_eq!(above.mirror(manager), mirror, "{server} {site}");
            let copy = below.folder.path().join("journal/server");
            let copy = copy.join(above.node.manager().to_string());
            let copied = moments[site].1.path().join("journal/server");
            let copied = copied.join(above.node.manager().to_string());
            assert_eq!(
                verify(&copy).chain,
                verify(&copied).chain,
                "{server} {site}"
            );
        }
    }
}

/// Protects a Manager from mixing two Servers' wishes: it stays with the one that it follows.
#[test]
fn a_manager_does_not_follow_another_server() {
    let (above, another) = (Above::new(), Above::new());
    let below = Below::new(&above);
    below.link();
    wait_until_level(&above, &below);
    above.submit("1-2");
    wait_until_level(&above, &below);
    let records = below.site().len();
    let link = (another.url.clone(), Some(another.token()));
    let below = Below::on(below.end(), Some(link));
    below.link();
    let trouble = until("the refusal", || below.node.link.trouble());
    assert!(trouble.contains("another control journal"), "{trouble}");
    assert_eq!(below.site().len(), records);
}

/// Protects the history of a Manager that ran alone for years: linked, it is seen above from its
/// first record. And a damaged copy keeps nobody else from working: it is named, and copied anew
/// once it is out of the way.
#[test]
fn a_mirror_begins_at_the_first_record_and_can_be_made_anew() {
    let above = Above::new();
    let alone = Below::on(JournalFolder::new(), None);
    let engine = alone.node.site.clone().unwrap();
    for number in 0..50 {
        let tag = tablao_core::TagId::new(tablao_net::clock::new_id());
        let (name, description) = (format!("tag {number}"), String::new());
        let create = Request::CreateTag {
            tag,
            name,
            description,
        };
        let asked = alone.block_on(engine.ask(Ask::system(create)));
        asked.unwrap().unwrap();
    }
    let manager = alone.node.manager();
    let link = (above.url.clone(), Some(above.token()));
    let below = Below::on(alone.end(), Some(link));
    below.link();
    wait_until_level(&above, &below);
    let tags = |above: &Above| {
        let site = above.node.mirrors.get(manager)?;
        Some(site.view().read().farm().tags().len())
    };
    assert_eq!(tags(&above), Some(50));

    let (server, site) = (above.end(), below.end());
    let folder = server.path().join(MIRRORS).join(manager.to_string());
    let file = folder.join("00000000000000000001.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    // In the segment's header: what is broken near the end is cut off and fetched again.
    bytes[20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let above = Above::on(server);
    let below = Below::again(site, &above);
    below.link();
    let trouble = until("the refusal", || below.node.link.trouble());
    assert!(trouble.contains("move journal/mirrors/"), "{trouble}");
    assert_eq!(tags(&above), None);

    let (server, site) = (above.end(), below.end());
    std::fs::remove_dir_all(&folder).unwrap();
    let above = Above::on(server);
    let below = Below::again(site, &above);
    below.link();
    wait_until_level(&above, &below);
    assert_eq!(tags(&above), Some(50));
}

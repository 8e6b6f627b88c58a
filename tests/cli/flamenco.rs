// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes what a Flamenco Manager leaves behind: its configuration file and its database, with one
//! of each thing that comes over. Names of tables and columns are facts; the rest is ours.

use std::{fs, path::Path};

use rusqlite::Connection;

pub(crate) const SECRET: &str = "the secret of alpha";
pub(crate) const ALPHA: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const BETA: &str = "aaaaaaaa-0000-4000-8000-000000000002";
pub(crate) const GONE: &str = "aaaaaaaa-0000-4000-8000-000000000003";
pub(crate) const GPU: &str = "bbbbbbbb-0000-4000-8000-000000000001";

/// The id of a job.
pub(crate) fn job(number: u32) -> String {
    format!("cccccccc-0000-4000-8000-{number:012}")
}

/// The id of a task of a job.
pub(crate) fn task(job: u32, number: u32) -> String {
    format!("dddddddd-0000-4000-8000-{job:06}{number:06}")
}

const TABLES: &str = "
    create table goose_db_version (id integer primary key, version_id integer, is_applied integer);
    create table worker_tags (id integer primary key, created_at datetime, uuid text, name text,
        description text);
    create table workers (id integer primary key, created_at datetime, updated_at datetime,
        uuid text, secret text, name text, address text, platform text, software text, status text,
        last_seen_at datetime, status_requested text, lazy_status_request boolean,
        supported_task_types text, deleted_at datetime, can_restart boolean);
    create table worker_tag_membership (worker_tag_id integer, worker_id integer,
        primary key (worker_tag_id, worker_id));
    create table sleep_schedules (id integer primary key, worker_id integer, is_active boolean,
        days_of_week text, start_time text, end_time text, next_check datetime);
    create table jobs (id integer primary key, created_at datetime, updated_at datetime, uuid text,
        name text, job_type text, priority smallint, status text, activity text, settings jsonb,
        metadata jsonb, delete_requested_at datetime, storage_shaman_checkout_id text,
        worker_tag_id integer);
    create table tasks (id integer primary key, created_at datetime, uuid text, name text,
        type text, job_id integer, index_in_job integer, priority smallint, status text,
        worker_id integer, last_touched_at datetime, commands jsonb, activity text);
    create table task_dependencies (task_id integer, dependency_id integer,
        primary key (task_id, dependency_id));
    create table task_failures (created_at datetime, task_id integer, worker_id integer,
        primary key (task_id, worker_id));
    create table job_blocks (id integer primary key, job_id integer, worker_id integer,
        task_type text);
    create table last_rendereds (id integer primary key, job_id integer);
    insert into worker_tags values (1, '2024-05-01 10:00:00+00:00', :gpu, 'gpu', 'fast ones');
";

/// Jobs with their statuses and those of their tasks.
pub(crate) const JOBS: &[(u32, &str, &[&str])] = &[
    (1, "completed", &["completed", "completed"]),
    (
        2,
        "active",
        &["completed", "active", "queued", "soft-failed"],
    ),
    (3, "failed", &["failed", "canceled", "completed"]),
    (4, "pause-requested", &["active", "queued", "completed"]),
    (5, "cancel-requested", &["active", "queued", "failed"]),
    (6, "paused", &["paused", "paused"]),
    (7, "queued", &["queued"; 3]),
];

/// Writes the configuration and the database.
pub(crate) fn make(folder: &Path, storage: &Path) {
    let yaml = format!(
        "_meta:\n  version: 3\nmanager_name: Old studio\ndatabase: flamenco-manager.sqlite\n\
         listen: 127.0.0.1:0\nautodiscoverable: false\nshared_storage_path: {}\n\
         task_timeout: 15m0s\nworker_timeout: 2m0s\nblocklist_threshold: 4\n\
         task_fail_after_softfail_count: 5\nshaman:\n  enabled: true\n  garbageCollect:\n    \
         period: 12h0m0s\n    maxAge: 500h0m0s\nvariables:\n  blender:\n    values:\n    - platform: \
         linux\n      value: /opt/blender/blender\n    - platform: windows\n      value: \
         C:\\Blender\\blender.exe\n  project:\n    is_twoway: true\n    values:\n    - platform: \
         linux\n      value: /mnt/project\n    - platform: windows\n      value: P:\\\n",
        storage.display()
    );
    fs::write(folder.join("flamenco-manager.yaml"), yaml).unwrap();
    let database = Connection::open(folder.join("flamenco-manager.sqlite")).unwrap();
    // As the original: what is new may lie in the log.
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database
        .execute_batch(&TABLES.replace(":gpu", &format!("'{GPU}'")))
        .unwrap();
    workers(&database);
    jobs(&database);
    // A process that was killed leaves its log behind.
    let wal = fs::read(folder.join("flamenco-manager.sqlite-wal")).unwrap();
    let main = fs::read(folder.join("flamenco-manager.sqlite")).unwrap();
    drop(database);
    fs::write(folder.join("flamenco-manager.sqlite"), main).unwrap();
    fs::write(folder.join("flamenco-manager.sqlite-wal"), wal).unwrap();
}

fn workers(database: &Connection) {
    let insert = "insert into workers (id, uuid, secret, name, address, platform, software, status,
        status_requested, lazy_status_request, supported_task_types, deleted_at, can_restart)
        values (?1, ?2, ?3, ?4, '192.0.2.1', 'linux', '3.8', ?5, ?6, 1, 'blender,ffmpeg,misc', ?7, 1)";
    let hash = bcrypt::hash(SECRET, 4).unwrap();
    for (id, uuid, name, status, asked, deleted) in [
        (1, ALPHA, "alpha", "awake", "", None),
        (2, BETA, "beta", "asleep", "offline", None),
        (
            3,
            GONE,
            "gone",
            "offline",
            "",
            Some("2024-05-01 10:00:00+00:00"),
        ),
    ] {
        let row = rusqlite::params![id, uuid, hash, name, status, asked, deleted];
        database.execute(insert, row).unwrap();
    }
    database
        .execute_batch(
            "insert into worker_tag_membership values (1, 2), (1, 3);
             insert into sleep_schedules values (1, 2, 1, 'mo tu we', '22:00', '06:30', null);",
        )
        .unwrap();
}

fn jobs(database: &Connection) {
    let insert_job = "insert into jobs (id, created_at, uuid, name, job_type, priority, status,
        activity, settings, metadata, delete_requested_at, storage_shaman_checkout_id, worker_tag_id)
        values (?1, ?2, ?3, ?4, 'simple-blender-render', ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let insert_task = "insert into tasks (id, uuid, name, type, job_id, index_in_job, priority,
        status, worker_id, commands) values (?1, ?2, ?3, ?4, ?5, ?6, 50, ?7, ?8, ?9)";
    for &(number, status, tasks) in JOBS {
        let settings = r#"{"frames": "1-2", "chunk_size": 1, "scene": "Szene ä"}"#;
        let metadata = r#"{"project": "Night Shift", "user.name": "ines"}"#;
        let deleted = (number == 1).then_some("2024-06-01 10:00:00+00:00");
        let checkout = if number == 2 { "film-abcd" } else { "" };
        let tag = (number == 3).then_some(1);
        let created = format!("2024-05-0{number} 12:00:00.25+00:00");
        let row = rusqlite::params![
            number,
            created,
            job(number),
            format!("job {number}"),
            40 + number,
            status,
            format!("it was {status}"),
            settings,
            metadata,
            deleted,
            checkout,
            tag
        ];
        database.execute(insert_job, row).unwrap();
        for (place, status) in (1u32..).zip(tasks.iter().copied()) {
            let is_last = place as usize == tasks.len();
            let (kind, commands) = if is_last {
                (
                    "misc",
                    r#"[{"name": "echo", "parameters": {"message": "done"}}]"#.to_owned(),
                )
            } else {
                let commands = format!(
                    r#"[{{"name": "blender-render", "parameters": {{"exe": "{{blender}}",
                        "blendfile": "/mnt/project/x.blend",
                        "args": ["--render-frame", "{place}"]}}, "total_step_count": 2}}]"#
                );
                ("blender", commands)
            };
            let id = number * 100 + place;
            let worker = (status != "queued").then_some(if place == 1 { 1 } else { 2 });
            let row = rusqlite::params![
                id,
                task(number, place),
                format!("task {place}"),
                kind,
                number,
                place,
                status,
                worker,
                commands.as_bytes()
            ];
            database.execute(insert_task, row).unwrap();
            if is_last {
                for needed in 1..place {
                    let row = [id, number * 100 + needed];
                    database
                        .execute("insert into task_dependencies values (?1, ?2)", row)
                        .unwrap();
                }
            }
        }
    }
    database
        .execute_batch(
            "insert into task_failures values ('2024-05-03', 204, 2), ('2024-05-03', 301, 1),
                ('2024-05-03', 301, 2), ('2024-05-03', 301, 3);
             insert into job_blocks values (1, 3, 1, 'blender');
             insert into last_rendereds values (1, 1);",
        )
        .unwrap();
}

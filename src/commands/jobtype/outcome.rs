// SPDX-License-Identifier: GPL-3.0-or-later
//! What a script made, for people: as JSON that is the same each time, as a list, as a tree.

use serde_json::{Value, json};
use tablao_jobtypes::{CompiledJob, CompiledTask};

/// Everything about a job that a script decides.
pub(super) fn whole(job: &CompiledJob) -> Value {
    json!({
        "name": job.name,
        "type": job.job_type,
        "priority": job.priority,
        "settings": job.settings,
        "metadata": job.metadata,
        "tasks": tasks(job),
    })
}

/// The tasks, with names where ids would be.
pub(super) fn tasks(job: &CompiledJob) -> Value {
    let of_task = |task: &CompiledTask| {
        let mut told = json!({ "name": task.name, "type": task.task_type });
        if task.priority != 50 {
            told["priority"] = json!(task.priority);
        }
        if !task.depends_on.is_empty() {
            let names = task.depends_on.iter().map(|&place| &job.tasks[place].name);
            told["depends_on"] = names.cloned().collect::<Vec<_>>().into();
        }
        if let Some(frames) = &task.frames {
            told["frames"] = json!(frames);
        }
        told["steps"] = json!(task.steps_total);
        let commands = task
            .commands()
            .into_iter()
            .map(|command| json!({ "name": command.name, "parameters": command.parameters }));
        told["commands"] = commands.collect::<Vec<_>>().into();
        told
    };
    job.tasks.iter().map(of_task).collect::<Vec<_>>().into()
}

fn head(task: &CompiledTask) -> String {
    let frames = task.frames.as_ref();
    let frames = frames.map(|frames| format!(", frames {frames}"));
    let steps = if task.steps_total == 1 {
        "step"
    } else {
        "steps"
    };
    format!(
        "{} ({}, {} {steps}{})",
        task.name,
        task.task_type,
        task.steps_total,
        frames.unwrap_or_default()
    )
}

fn title(job: &CompiledJob) -> String {
    let tasks = if job.tasks.len() == 1 {
        "task"
    } else {
        "tasks"
    };
    format!(
        "{} ({}): {} {tasks}",
        job.name,
        job.job_type,
        job.tasks.len()
    )
}

/// Tasks in their order, with commands and what they wait for.
pub(super) fn list(job: &CompiledJob) -> String {
    let mut lines = vec![title(job)];
    for (place, task) in job.tasks.iter().enumerate() {
        lines.push(format!("{:>4}  {}", place + 1, head(task)));
        if !task.depends_on.is_empty() {
            let names = task.depends_on.iter().map(|&place| &*job.tasks[place].name);
            let names: Vec<&str> = names.collect();
            lines.push(format!("      after {}", names.join(", ")));
        }
        for command in task.commands() {
            let parameters = Value::Object(command.parameters);
            lines.push(format!("      {} {parameters}", command.name));
        }
    }
    lines.join("\n")
}

/// What waits for what, from those that nobody waits for down to those that wait for nothing.
pub(super) fn tree(job: &CompiledJob) -> String {
    let mut awaited = vec![false; job.tasks.len()];
    for &place in job.tasks.iter().flat_map(|task| &task.depends_on) {
        awaited[place] = true;
    }
    let mut lines = vec![title(job)];
    let mut shown = vec![false; job.tasks.len()];
    // A stack instead of calls: a chain of a hundred thousand tasks is a sound job.
    let roots = (0..job.tasks.len()).rev().filter(|&place| !awaited[place]);
    let mut open: Vec<(usize, usize)> = roots.map(|place| (place, 0)).collect();
    while let Some((place, depth)) = open.pop() {
        let task = &job.tasks[place];
        let indent = "  ".repeat(depth + 1);
        if std::mem::replace(&mut shown[place], true) && !task.depends_on.is_empty() {
            lines.push(format!("{indent}{} (as above)", task.name));
            continue;
        }
        lines.push(format!("{indent}{}", head(task)));
        let below = task
            .depends_on
            .iter()
            .rev()
            .map(|&below| (below, depth + 1));
        open.extend(below);
    }
    lines.join("\n")
}

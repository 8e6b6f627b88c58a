// SPDX-License-Identifier: GPL-3.0-or-later
//! What a configuration's values mean together: numbers in range, variables that overlap or lead
//! nowhere, and (asked for apart, because a share may come up later) what is on this machine.

use std::collections::BTreeMap;

use super::{
    Config,
    read::{Finding, Level, Lines},
};
use crate::{
    setup::check_storage,
    variables::{Variable, collapses_into, own_platform},
};

/// The platforms that Flamenco's clients name.
const PLATFORMS: [&str; 3] = ["linux", "windows", "darwin"];
/// Many more exist for Go; one that is not here is probably a slip, and not refused.
const FURTHER_PLATFORMS: [&str; 5] = ["all", "freebsd", "openbsd", "netbsd", "solaris"];

struct Checker<'a> {
    lines: &'a Lines<'a>,
    findings: &'a mut Vec<Finding>,
}

/// Checks values that can be read but may not be usable.
pub(super) fn values(config: &Config, lines: &Lines<'_>, findings: &mut Vec<Finding>) {
    let mut checker = Checker { lines, findings };
    checker.numbers(config);
    for (name, variable) in &config.variables {
        checker.variable(name, variable);
    }
    checker.overlaps(&config.variables);
    if config.mqtt.enabled && config.mqtt.broker.is_empty() {
        checker.error(
            &["mqtt", "broker"],
            "MQTT is enabled and there is no broker",
            "write its address, such as \"tcp://localhost:1883\"",
        );
    } else if config.mqtt.enabled
        && let Err(what) = crate::live::check_broker(&config.mqtt)
    {
        checker.error(
            &["mqtt", "broker"],
            &what,
            "write tcp://host:1883, or ws://host:9001 for MQTT over WebSocket",
        );
    }
}

/// Checks what the configuration names on this machine.
pub fn on_this_machine(config: &Config, data: &std::path::Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.is_first_run() {
        findings.push(Finding {
            level: Level::Warning,
            line: None,
            key: "shared_storage_path".to_owned(),
            what: "it is not set".to_owned(),
            hint: "`tablao setup` asks for it; until then jobs use a folder in the data directory"
                .to_owned(),
        });
        return findings;
    }
    let path = config.shared_storage_path.to_string_lossy();
    let checked = check_storage(&path, data);
    if !checked.is_usable {
        findings.push(Finding {
            level: Level::Wrong,
            line: None,
            key: "shared_storage_path".to_owned(),
            what: checked.cause,
            hint: "is the share mounted? else name another folder".to_owned(),
        });
    }
    findings
}

impl Checker<'_> {
    fn say(&mut self, level: Level, path: &[&str], what: &str, hint: &str) {
        self.findings.push(Finding {
            level,
            line: self.lines.of(path),
            key: path.join("."),
            what: what.to_owned(),
            hint: hint.to_owned(),
        });
    }

    fn error(&mut self, path: &[&str], what: &str, hint: &str) {
        self.say(Level::Error, path, what, hint);
    }

    fn wrong(&mut self, path: &[&str], what: &str, hint: &str) {
        self.say(Level::Wrong, path, what, hint);
    }

    fn warning(&mut self, path: &[&str], what: &str, hint: &str) {
        self.say(Level::Warning, path, what, hint);
    }

    fn numbers(&mut self, config: &Config) {
        let rules = &config.rules;
        if !(1..=100).contains(&rules.job_fail_percent) {
            self.error(
                &["rules", "job_fail_percent"],
                "no share of tasks",
                "write 1 to 100",
            );
        }
        let at_least_one = [
            (
                "task_fail_after_softfail_count",
                rules.task_fail_after_softfail_count,
            ),
            ("lease_s", rules.lease_s),
        ];
        for (name, number) in at_least_one {
            if number == 0 {
                self.error(
                    &["rules", name],
                    "0 would fail or end every task",
                    "write at least 1",
                );
            }
        }
        if config.listen.parse::<std::net::SocketAddr>().is_err() && !config.listen.contains(':') {
            self.error(
                &["listen"],
                "this is no address with a port",
                "write it as \"127.0.0.1:8080\"",
            );
        }
    }

    fn variable(&mut self, name: &str, variable: &Variable) {
        let path = &["variables", name][..];
        if name.is_empty() || name.contains(['{', '}']) {
            self.error(path, "no name of a variable", "use letters and digits");
        }
        if name == "jobs" {
            self.warning(
                path,
                "{jobs} is the folder of jobs' files and this is not used",
                "remove it, or give it another name",
            );
        }
        if variable.values.is_empty() {
            self.warning(
                path,
                "it has no values, so {name} stays as it is in every task",
                "give it values, or remove it",
            );
        }
        let mut seen = BTreeMap::new();
        for value in &variable.values {
            let audience = value.audience.as_str();
            if !matches!(audience, "" | "all" | "workers" | "users") {
                self.error(
                    path,
                    &format!("{audience:?} is no audience"),
                    "write \"all\", \"workers\" or \"users\"",
                );
            }
            if value.names().next().is_none() {
                self.warning(
                    path,
                    &format!("the value {:?} has no platform", value.value),
                    "add platform = \"all\", or \"linux\", \"windows\", \"darwin\"",
                );
            }
            for platform in value.names() {
                let known = PLATFORMS.contains(&platform) || FURTHER_PLATFORMS.contains(&platform);
                if !known {
                    self.warning(
                        path,
                        &format!("no client calls its platform {platform:?}"),
                        "write \"linux\", \"windows\", \"darwin\" or \"all\"",
                    );
                }
                let audience = if audience.is_empty() { "all" } else { audience };
                if let Some(other) = seen.insert((audience, platform), &value.value) {
                    self.warning(
                        path,
                        &format!("{audience} on {platform} have two values, {other:?} and {:?}; the last one is used", value.value),
                        "remove one",
                    );
                }
            }
            if variable.is_twoway && value.value.trim_end_matches(['/', '\\']).is_empty() {
                self.wrong(
                    path,
                    &format!(
                        "{:?} would stand for every path, so it stands for none",
                        value.value
                    ),
                    "a two-way variable is a folder: write its whole path",
                );
            }
        }
        if variable.is_twoway && !variable.values.is_empty() {
            self.dangling(path, variable);
        }
    }

    /// A two-way variable that one side does not have leaves `{name}` in its paths.
    fn dangling(&mut self, path: &[&str], variable: &Variable) {
        let has = |platform: &str| {
            (variable.values.iter())
                .any(|value| value.names().any(|name| name == platform || name == "all"))
        };
        let named = |platform: &&str| has(platform);
        let there = PLATFORMS.iter().copied().filter(|name| named(name)).count();
        if there == 1 && !has("all") {
            self.warning(
                path,
                "it has a value for one platform only, so paths of others are not translated",
                "add the folder as other platforms see it, or remove the variable",
            );
        }
        if !has(own_platform()) {
            self.warning(
                path,
                &format!(
                    "it has no value for {}, this Manager's platform",
                    own_platform()
                ),
                "add one: with it, paths of this machine are translated for Workers",
            );
        }
    }

    /// Two-way variables that take the same paths.
    fn overlaps(&mut self, variables: &BTreeMap<String, Variable>) {
        let two_way: Vec<(&String, &Variable)> = (variables.iter())
            .filter(|(_, variable)| variable.is_twoway)
            .collect();
        for (position, (name, variable)) in two_way.iter().enumerate() {
            for (other_name, other) in &two_way[position + 1..] {
                self.overlap((name, variable), (other_name, other));
            }
        }
    }

    fn overlap(&mut self, (name, one): (&str, &Variable), (other_name, other): (&str, &Variable)) {
        for a in &one.values {
            for b in &other.values {
                let meet =
                    (a.names()).any(|x| b.names().any(|y| x == y || x == "all" || y == "all"));
                let audiences = a.for_all() || b.for_all() || a.audience == b.audience;
                if !meet || !audiences {
                    continue;
                }
                let (within, around) = (
                    collapses_into(&a.value, &b.value),
                    collapses_into(&b.value, &a.value),
                );
                if within && around {
                    self.wrong(
                        &["variables", other_name],
                        &format!("it has the folder {:?}, as {name} has", b.value),
                        "one folder can have one variable: remove one of them",
                    );
                    return;
                }
                if within || around {
                    let (inner, outer) = if within {
                        (name, other_name)
                    } else {
                        (other_name, name)
                    };
                    self.warning(
                        &["variables", inner],
                        &format!(
                            "its folder lies in that of {outer}; paths in it become {{{inner}}}"
                        ),
                        "right if every platform has both; else remove one",
                    );
                    return;
                }
            }
        }
    }
}

// SPDX-License-Identifier: GPL-3.0-or-later
//! The Manager itself.

use crate::case::{Case, run};

/// In the order in which they are run.
pub(crate) const CASES: &[Case] = &[
    ("getVersion", 200, |on| {
        let reply = on.manager().call("getVersion").send();
        assert_eq!(
            reply.json()["shortversion"],
            "3.9-beta1",
            "the add-on compares it"
        );
        reply
    }),
    ("getFarmStatus", 200, |on| {
        let status = || on.manager().call("getFarmStatus").send();
        assert_eq!(status().json()["status"], "inoperative", "nobody is there");
        let worker = on.manager().awake("hut");
        assert_eq!(status().json()["status"], "idle");
        on.manager().job("one");
        assert_eq!(status().json()["status"], "waiting");
        on.manager().task(&worker);
        assert_eq!(status().json()["status"], "active");
        status()
    }),
    ("getConfiguration", 200, |on| {
        let bare = on.bare().call("getConfiguration").send();
        assert_eq!(bare.json()["isFirstRun"], true);
        let reply = on.manager().call("getConfiguration").send();
        assert_eq!(reply.json()["isFirstRun"], false);
        assert_eq!(reply.json()["shamanEnabled"], true);
        reply
    }),
    ("getVariables", 200, |on| {
        let call = on.manager().call("getVariables");
        let reply = call.at("workers").at("linux").send();
        assert_eq!(reply.json()["blender"]["is_twoway"], false);
        reply
    }),
    ("getVariables", 400, |on| {
        let call = on.manager().call("getVariables");
        call.at("everybody").at("linux").send().saying("audience")
    }),
    ("getSharedStorage", 200, |on| {
        let call = on.manager().call("getSharedStorage");
        let reply = call.at("users").at("windows").send();
        assert_eq!(reply.json()["audience"], "users");
        assert_eq!(reply.json()["platform"], "windows");
        reply
    }),
    ("getSharedStorage", 400, |on| {
        let call = on.manager().call("getSharedStorage");
        call.at("everybody").at("linux").send().saying("audience")
    }),
];

/// Version, status and what clients read of the configuration.
#[test]
fn meta_operations() {
    run(CASES);
}

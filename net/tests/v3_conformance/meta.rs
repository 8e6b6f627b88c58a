// SPDX-License-Identifier: GPL-3.0-or-later
//! The Manager itself.

use serde_json::{Value, json};

use crate::{
    case::{Case, run},
    ground::Grounds,
};

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
    ("checkSharedStoragePath", 200, |on| {
        let storage = on.manager().stored("");
        let check = |path: &str| {
            let call = on.manager().call("checkSharedStoragePath");
            call.json(&json!({ "path": path })).send()
        };
        assert_eq!(check("/no/such/folder").json()["is_usable"], false);
        let reply = check(storage.to_str().unwrap());
        assert_eq!(reply.json()["is_usable"], true);
        reply
    }),
    ("checkSharedStoragePath", 400, |on| {
        on.manager()
            .call("checkSharedStoragePath")
            .json(&json!({}))
            .send()
            .saying("path")
    }),
    ("checkSharedStoragePath", 413, |on| {
        on.manager()
            .call("checkSharedStoragePath")
            .too_large()
            .send()
    }),
    ("findBlenderExePath", 200, |on| {
        on.manager().call("findBlenderExePath").send()
    }),
    ("checkBlenderExePath", 200, |on| {
        let call = on.manager().call("checkBlenderExePath");
        let reply = call.json(&json!({ "path": "/no/such/blender" })).send();
        assert_eq!(reply.json()["is_usable"], false);
        reply
    }),
    ("checkBlenderExePath", 400, |on| {
        on.manager().call("checkBlenderExePath").broken().send()
    }),
    ("checkBlenderExePath", 413, |on| {
        on.manager().call("checkBlenderExePath").too_large().send()
    }),
    ("getConfigurationFile", 200, |on| {
        on.manager().call("getConfigurationFile").send()
    }),
    ("updateConfigurationFile", 204, |on| {
        let file = on.manager().call("getConfigurationFile").send();
        on.manager()
            .call("updateConfigurationFile")
            .json(file.json())
            .send()
    }),
    ("updateConfigurationFile", 400, |on| {
        let call = on.manager().call("updateConfigurationFile");
        call.json(&json!({ "shared_storage_path": 7 })).send()
    }),
    ("updateConfigurationFile", 413, |on| {
        on.manager()
            .call("updateConfigurationFile")
            .too_large()
            .send()
    }),
    ("saveSetupAssistantConfig", 204, |on| {
        let storage = tempfile::tempdir().unwrap();
        let call = on.bare().call("saveSetupAssistantConfig");
        call.json(&set_up(storage.path().to_str().unwrap())).send()
    }),
    ("saveSetupAssistantConfig", 400, |on| {
        on.bare()
            .call("saveSetupAssistantConfig")
            .json(&set_up(""))
            .send()
    }),
    ("saveSetupAssistantConfig", 413, |on| {
        on.bare()
            .call("saveSetupAssistantConfig")
            .too_large()
            .send()
    }),
    ("updateConfigurationFile", 409, |on| {
        let file = on.bare().call("getConfigurationFile").send();
        break_by_hand(on);
        on.bare()
            .call("updateConfigurationFile")
            .json(file.json())
            .send()
    }),
    ("saveSetupAssistantConfig", 409, |on| {
        let storage = tempfile::tempdir().unwrap();
        let call = on.bare().call("saveSetupAssistantConfig");
        call.json(&set_up(storage.path().to_str().unwrap())).send()
    }),
    ("updateConfigurationFile", 500, |on| {
        let file = on.manager().call("getConfigurationFile").send();
        put_folder_in_its_place(on);
        on.manager()
            .call("updateConfigurationFile")
            .json(file.json())
            .send()
    }),
    ("saveSetupAssistantConfig", 500, |on| {
        let storage = tempfile::tempdir().unwrap();
        let call = on.manager().call("saveSetupAssistantConfig");
        call.json(&set_up(storage.path().to_str().unwrap())).send()
    }),
];

/// What a first set-up comes to.
fn set_up(storage: &str) -> Value {
    json!({
        "storageLocation": storage,
        "blenderExecutable": {
            "input": "", "path": "", "source": "default", "is_usable": true, "cause": "",
        },
    })
}

/// Somebody edits the file and makes a mistake.
fn break_by_hand(on: &Grounds) {
    let path = on.bare().node.data.path("tablao.toml");
    std::fs::write(path, "[rules\n").unwrap();
}

/// The file can be neither read nor written.
fn put_folder_in_its_place(on: &Grounds) {
    let path = on.manager().node.data.path("tablao.toml");
    let _ = std::fs::remove_file(&path);
    std::fs::create_dir(path).unwrap();
}

/// Version, status and what clients read of the configuration.
#[test]
fn meta_operations() {
    run(CASES);
}

// SPDX-License-Identifier: GPL-3.0-or-later
//! Which file a `require()` means: Node's rules over the picture of the scripts folder.
//!
//! Pure lookup in [`Sources`]: a path that climbs out of the folder is refused before any file is
//! considered, and files elsewhere cannot be named at all. Running modules is the prelude's part.

use serde_json::Value;

use crate::sources::{SourceFile, Sources};

/// Finds the file for `request` as written in a module that lives in `folder` (`""` is the root).
pub(crate) fn resolve(
    sources: &Sources,
    folder: &str,
    request: &str,
) -> Result<SourceFile, String> {
    let request = request.replace('\\', "/");
    let found = if request.starts_with("./")
        || request.starts_with("../")
        || request == "."
        || request == ".."
    {
        file_or_folder(sources, &below(folder, &request, &request)?)
    } else if let Some(absolute) = request.strip_prefix('/') {
        file_or_folder(sources, &below("", absolute, &request)?)
    } else {
        bare(sources, folder, &request)?
    };
    found.ok_or_else(|| format!("cannot find module '{request}'"))
}

/// Looks into the `node_modules` folders upward, then for a helper in the scripts folder itself.
fn bare(sources: &Sources, folder: &str, request: &str) -> Result<Option<SourceFile>, String> {
    let mut place = Some(folder);
    while let Some(here) = place {
        let path = below(here, &format!("node_modules/{request}"), request)?;
        if let Some(found) = file_or_folder(sources, &path) {
            return Ok(Some(found));
        }
        place = match here.rfind('/') {
            Some(at) => Some(&here[..at]),
            None if here.is_empty() => None,
            None => Some(""),
        };
    }
    Ok(file_or_folder(sources, &below("", request, request)?))
}

fn file_or_folder(sources: &Sources, path: &str) -> Option<SourceFile> {
    if let Some(found) = file(sources, path) {
        return Some(found);
    }
    let main = sources
        .get(&joined(path, "package.json"))
        .and_then(|package| serde_json::from_str::<Value>(&package.text).ok())
        .and_then(|package| package.get("main")?.as_str().map(str::to_owned))
        .and_then(|main| below(path, &main, &main).ok());
    main.and_then(|main| file(sources, &main).or_else(|| index(sources, &main)))
        .or_else(|| index(sources, path))
}

fn file(sources: &Sources, path: &str) -> Option<SourceFile> {
    let spellings = [
        path.to_owned(),
        format!("{path}.js"),
        format!("{path}.json"),
    ];
    spellings.iter().find_map(|spelling| sources.get(spelling))
}

fn index(sources: &Sources, folder: &str) -> Option<SourceFile> {
    ["index.js", "index.json"]
        .iter()
        .find_map(|name| sources.get(&joined(folder, name)))
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        return name.to_owned();
    }
    format!("{folder}/{name}")
}

/// Appends `more` to `folder` by text, refusing to climb above the scripts folder.
fn below(folder: &str, more: &str, request: &str) -> Result<String, String> {
    let mut elements: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for element in more.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.pop().is_none() => {
                return Err(format!(
                    "module '{request}' is outside of the scripts folder"
                ));
            }
            ".." => {}
            other => elements.push(other),
        }
    }
    Ok(elements.join("/"))
}

/// The folder a module's own `require()` starts from.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

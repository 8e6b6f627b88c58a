// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of a render's channels may be averaged over samples, and how.
//!
//! Told by the names that Blender gives its passes, `<view layer>.<pass>.<component>`. What Cycles
//! takes from the very first sample (depth, indices, positions) has no average; light passes are
//! stored divided by their colour and have to be averaged undivided; Cryptomatte holds pairs of an
//! id and its share. Everything else is a plain mean.

/// How a channel of several sample ranges becomes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// The mean, weighted by samples.
    Mean,
    /// The mean weighted by samples and by the channel of this name.
    MeanOfProducts(String),
    /// What the input with the first samples has.
    First,
    /// A pair of id and share, or one half of it: see [`super::cryptomatte`].
    Cryptomatte(Slot),
}

/// Where a channel stands among those of one Cryptomatte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// `ViewLayer.CryptoObject`, the same for all its channels.
    pub(super) matte: String,
    /// Rank of the pair, from 0.
    pub(super) rank: usize,
    /// Whether it is the share and not the id.
    pub(super) is_share: bool,
}

/// Passes that hold what the first sample met.
const FIRST_SAMPLE: [&str; 6] = [
    "Depth",
    "IndexOB",
    "IndexMA",
    "Object Index",
    "Material Index",
    "Position",
];

/// Light passes and the colour that they are divided by, as Blender up to 4.x and 5.x call them.
const DIVIDED: [(&str, &str); 12] = [
    ("DiffDir", "DiffCol"),
    ("DiffInd", "DiffCol"),
    ("GlossDir", "GlossCol"),
    ("GlossInd", "GlossCol"),
    ("TransDir", "TransCol"),
    ("TransInd", "TransCol"),
    ("Diffuse Direct", "Diffuse Color"),
    ("Diffuse Indirect", "Diffuse Color"),
    ("Glossy Direct", "Glossy Color"),
    ("Glossy Indirect", "Glossy Color"),
    ("Transmission Direct", "Transmission Color"),
    ("Transmission Indirect", "Transmission Color"),
];

/// The rule for the channel of this name; `exists` tells which other channels there are.
pub(super) fn rule(name: &str, exists: impl Fn(&str) -> bool) -> Rule {
    if let Some(slot) = slot(name) {
        return Rule::Cryptomatte(slot);
    }
    // The depth that a plain OpenEXR render may have beside its colours.
    if name == "Z" {
        return Rule::First;
    }
    let parts: Vec<&str> = name.split('.').collect();
    let passes = &parts[..parts.len().saturating_sub(1)];
    if passes.iter().any(|pass| FIRST_SAMPLE.contains(pass)) {
        return Rule::First;
    }
    for (index, pass) in passes.iter().enumerate() {
        if let Some((_, colour)) = DIVIDED.iter().find(|(light, _)| light == pass) {
            let mut divisor = parts.clone();
            divisor[index] = colour;
            let divisor = divisor.join(".");
            if exists(&divisor) {
                return Rule::MeanOfProducts(divisor);
            }
        }
    }
    Rule::Mean
}

/// Reads `<matte><two digits>.<r|g|b|a>`.
fn slot(name: &str) -> Option<Slot> {
    let (numbered, component) = name.rsplit_once('.')?;
    let digits = numbered.len().checked_sub(2)?;
    let (matte, level) = (numbered.get(..digits)?, numbered.get(digits..)?);
    if !matte.contains("Crypto") {
        return None;
    }
    let level: usize = level.parse().ok()?;
    let (half, is_share) = match component {
        "r" | "R" => (0, false),
        "g" | "G" => (0, true),
        "b" | "B" => (1, false),
        "a" | "A" => (1, true),
        _ => return None,
    };
    Some(Slot {
        matte: matte.to_owned(),
        rank: level * 2 + half,
        is_share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_known_by_their_names() {
        // Protects depth, indices and mattes from being averaged into values that nothing has.
        let all = |_: &str| true;
        let none = |_: &str| false;
        for first in [
            "Z",
            "ViewLayer.Depth.Z",
            "ViewLayer.Depth.V",
            "Fore.IndexOB.X",
            "ViewLayer.left.Position.Y",
            "ViewLayer.Material Index.X",
        ] {
            assert_eq!(rule(first, all), Rule::First, "{first}");
        }
        for mean in [
            "R",
            "A",
            "ViewLayer.Combined.R",
            "ViewLayer.Normal.Z",
            "ViewLayer.Mist.Z",
            "ViewLayer.DiffCol.R",
            "ViewLayer.Depth",
        ] {
            assert_eq!(rule(mean, all), Rule::Mean, "{mean}");
        }
        let product = rule("ViewLayer.DiffDir.R", all);
        assert_eq!(
            product,
            Rule::MeanOfProducts("ViewLayer.DiffCol.R".to_owned())
        );
        assert_eq!(rule("ViewLayer.DiffDir.R", none), Rule::Mean);
        let matte = |rank, is_share| {
            Rule::Cryptomatte(Slot {
                matte: "ViewLayer.CryptoObject".to_owned(),
                rank,
                is_share,
            })
        };
        assert_eq!(rule("ViewLayer.CryptoObject00.r", all), matte(0, false));
        assert_eq!(rule("ViewLayer.CryptoObject02.A", all), matte(5, true));
        assert_eq!(rule("ViewLayer.CryptoObject.r", all), Rule::Mean);
    }
}

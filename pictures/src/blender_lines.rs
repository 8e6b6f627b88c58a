// SPDX-License-Identifier: GPL-3.0-or-later
//! Recognises the lines of Blender's output that the Worker acts on.
//!
//! Blender up to 4.5 prints them bare, 5.0 after a log prefix (`00:00.327  render  | ...`). Lines
//! that merely contain the words further on must not count.

/// What a line of Blender's output says.
#[derive(Debug, Clone, PartialEq)]
pub enum BlenderLine {
    /// A file was written.
    Saved(String),
    /// A frame is done, after so many milliseconds.
    FrameDone {
        /// Rendering and saving.
        render_ms: u64,
    },
    /// A frame was left out because its file exists.
    Skipped,
    /// The state of the frame being rendered.
    Status(Status),
    /// The program introduces itself.
    Version(String),
    /// The program cannot do what the scene asks for.
    FeatureMissing(&'static str),
    /// Memory of the machine or its GPU is used up.
    OutOfMemory,
}

/// A status line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// The frame being rendered.
    pub frame: Option<i64>,
    /// Most memory so far.
    pub peak_memory_bytes: Option<u64>,
    /// Samples per pixel that are to be rendered.
    pub samples: Option<u32>,
}

/// Words in an error of Blender, and what a person can do about it.
const FEATURES: [(&str, &str); 7] = [
    (
        "Build without OpenImageDenoiser",
        "this build of Blender has no OpenImageDenoise and the scene asks for denoising; install Blender from blender.org on this worker, or switch denoising off in the scene",
    ),
    (
        "No device available to denoise on",
        "this build of Blender cannot denoise on any device of this worker and the scene asks for it; install Blender from blender.org, or switch denoising off in the scene",
    ),
    (
        "OpenImageDenoiser is not supported on this CPU",
        "the processor of this worker is too old for OpenImageDenoise and the scene asks for denoising; use another worker, or switch denoising off in the scene",
    ),
    (
        "not available for scene",
        "this Blender lacks the render engine the scene asks for; install or enable the add-on that brings it on this worker",
    ),
    (
        "engine not found",
        "this Blender lacks the render engine the job asks for; install or enable the add-on that brings it on this worker",
    ),
    (
        "may be from a newer version of Blender",
        "this Blender cannot read the file, which a newer one may have saved; update Blender on this worker",
    ),
    (
        "nable to open a display",
        "this render engine needs a display and this worker has none; give the worker one (for example Xvfb), or use a newer Blender",
    ),
];

/// Words of programs that could not get the memory they need.
const OUT_OF_MEMORY: [&str; 4] = [
    "Out of memory",
    "out of GPU and shared host memory",
    "Malloc returns null",
    "Calloc returns null",
];

/// Reads one line; most lines say nothing of interest.
pub fn recognise(line: &str) -> Option<BlenderLine> {
    let message = message(line);
    if let Some(rest) = message.strip_prefix("Saved: '") {
        let end = rest.rfind('\'')?;
        return Some(BlenderLine::Saved(rest[..end].to_owned()));
    }
    if let Some(rest) = message.strip_prefix("Time: ") {
        let render_ms = clock_ms(rest.split_whitespace().next()?)?;
        return Some(BlenderLine::FrameDone { render_ms });
    }
    if let Some(rest) = message.strip_prefix(['S', 's'])
        && rest.starts_with("kipping existing frame")
    {
        return Some(BlenderLine::Skipped);
    }
    if let Some(rest) = message.strip_prefix("Blender ")
        && rest.starts_with(|first: char| first.is_ascii_digit())
    {
        let version = rest.split_whitespace().next()?;
        return Some(BlenderLine::Version(version.to_owned()));
    }
    // An error is either marked as one or is the last part of a status line.
    let is_status = message.starts_with("Fra:");
    if is_status || line.contains("rror") || line.contains("arning") || !line.contains('|') {
        if OUT_OF_MEMORY.iter().any(|words| line.contains(words)) {
            return Some(BlenderLine::OutOfMemory);
        }
        if let Some((_, advice)) = FEATURES.iter().find(|(words, _)| line.contains(words)) {
            return Some(BlenderLine::FeatureMissing(advice));
        }
    }
    is_status.then(|| BlenderLine::Status(status(message)))
}

/// The line without Blender 5.0's prefix, and without the blank that 3.x puts before `Time:`.
fn message(line: &str) -> &str {
    match line.split_once('|') {
        Some((before, after)) if before.trim_end().ends_with("render") => after.trim_start(),
        Some(_) | None => line.trim_start(),
    }
}

fn status(message: &str) -> Status {
    let mut status = Status::default();
    let mut words = message["Fra:".len()..].split_whitespace();
    status.frame = words.next().and_then(|word| word.parse().ok());
    for (index, _) in message.match_indices("Peak") {
        let amount = message[index + "Peak".len()..].trim_start_matches([':', ' ']);
        let end = amount
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(amount.len());
        let unit = match amount[end..].chars().next() {
            Some('K') => 1024.0,
            Some('M') => 1024.0 * 1024.0,
            Some('G') => 1024.0 * 1024.0 * 1024.0,
            Some(_) | None => continue,
        };
        if let Ok(number) = amount[..end].parse::<f64>() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "digits only, so not negative; a fraction of a byte is none"
            )]
            let bytes = (number * unit) as u64;
            status.peak_memory_bytes = status.peak_memory_bytes.max(Some(bytes));
        }
    }
    if let Some((_, samples)) = message.rsplit_once("Sample ")
        && let Some((_, total)) = samples.split_once('/')
    {
        let end = total
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(total.len());
        status.samples = total[..end].parse().ok();
    }
    // EEVEE and Workbench: `Rendering 1 / 64 samples`.
    if let Some((_, samples)) = message.rsplit_once("Rendering ")
        && let Some((_, total)) = samples.split_once(" / ")
        && let Some(total) = total.trim_end().strip_suffix(" samples")
    {
        status.samples = total.parse().ok();
    }
    status
}

/// `01:02:03.45` or `02:03.45` in milliseconds.
fn clock_ms(text: &str) -> Option<u64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut seconds: u64 = 0;
    for part in clock.split(':') {
        seconds = seconds
            .checked_mul(60)?
            .checked_add(part.parse::<u32>().ok()?.into())?;
    }
    let mut ms: u64 = 0;
    for place in 0..3 {
        let digit = fraction.as_bytes().get(place).copied().unwrap_or(b'0');
        ms = ms * 10 + u64::from(char::from(digit).to_digit(10)?);
    }
    Some(seconds * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_versions_are_recognised() {
        // Protects progress and publication with Blender 3.4, 4.x and 5.0; lines as printed.
        let saved = |path: &str| Some(BlenderLine::Saved(path.to_owned()));
        let done = |render_ms| Some(BlenderLine::FrameDone { render_ms });
        let table = [
            ("Saved: '/out/f_0001.png'", saved("/out/f_0001.png")),
            ("Saved: '/it's/f.png'", saved("/it's/f.png")),
            (
                "00:00.822  render           | Saved: '/tmp/f_0001.png'",
                saved("/tmp/f_0001.png"),
            ),
            (" Time: 00:00.59 (Saving: 00:00.44)", done(590)),
            ("Time: 00:02.07 (Saving: 00:00.05)", done(2070)),
            ("Time: 01:02:03.45", done(3_723_450)),
            (
                "00:03.327  render           | Time: 00:03.10 (Saving: 00:00.44)",
                done(3100),
            ),
            (
                "skipping existing frame \"/tmp/f_0001.png\"",
                Some(BlenderLine::Skipped),
            ),
            (
                "00:00.417  render           | Skipping existing frame \"/tmp/f.png\"",
                Some(BlenderLine::Skipped),
            ),
            ("Blender 3.4.1", Some(BlenderLine::Version("3.4.1".into()))),
            (
                "Blender 5.0.1 (hash a1b2 built 2025-12-01 01:02:03)",
                Some(BlenderLine::Version("5.0.1".into())),
            ),
            ("Blender quit", None),
            ("Info: Total files 0 | Changed 0 | Failed 0", None),
            ("I said: Saved: 'x'", None),
            ("scene | Time: 00:01.00", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(recognise(line), expected, "{line}");
        }
    }

    #[test]
    fn status_lines_tell_frame_memory_and_samples_and_are_no_finished_frame() {
        // Protects against counting each of the hundreds of status lines as a frame.
        let line = "Fra:4 Mem:9.96M (Peak 10.50M) | Time:00:00.15 | Mem:0.79M, Peak:0.79M | Scene, ViewLayer | Sample 2/64";
        let Some(BlenderLine::Status(status)) = recognise(line) else {
            panic!("not a status: {line}");
        };
        assert_eq!(status.frame, Some(4));
        assert_eq!(status.peak_memory_bytes, Some(11_010_048));
        assert_eq!(status.samples, Some(64));
        let line = "Fra:7 Mem:40.01M (Peak 41.38M) | Time:00:00.20 | Rendering 1 / 32 samples";
        let Some(BlenderLine::Status(status)) = recognise(line) else {
            panic!("not a status: {line}");
        };
        assert_eq!((status.frame, status.samples), (Some(7), Some(32)));
    }

    #[test]
    fn a_build_without_a_feature_is_told_with_advice() {
        // Protects the explanation: Debian's Blender 3.4 prints these lines and ends with code 1.
        for line in [
            "Error: Build without OpenImageDenoiser",
            "Fra:1 Mem:9.90M (Peak 10.83M) | Time:00:00.09 | Mem:0.76M, Peak:0.76M | Scene, ViewLayer | Build without OpenImageDenoiser",
        ] {
            let Some(BlenderLine::FeatureMissing(advice)) = recognise(line) else {
                panic!("not recognised: {line}");
            };
            assert!(advice.contains("switch denoising off"), "{advice}");
        }
        assert_eq!(
            recognise("Error: System is out of GPU and shared host memory"),
            Some(BlenderLine::OutOfMemory)
        );
    }
}

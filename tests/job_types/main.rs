// SPDX-License-Identifier: GPL-3.0-or-later
//! Our own job types on a real farm: a Manager and two Workers as processes, real Blender and
//! FFmpeg, small pictures. What comes out is compared with what one program alone makes.
//!
//! Newer Blenders take part as Python modules where `BPY42_PYTHON` and `BPY50_PYTHON` name them.
#![cfg(target_os = "linux")]

#[path = "../farm_support/mod.rs"]
mod farm_support;

mod bake;
mod encode;
mod farm;
mod limits;
mod pixels;
mod progressive;
mod single_image;

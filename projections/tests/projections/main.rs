// SPDX-License-Identifier: GPL-3.0-or-later
//! What the projections promise, over generated histories of the real core.

mod baseline;
mod checkpoints;
mod fold;
mod histories;
mod naive;
mod regenerate;
mod rows;

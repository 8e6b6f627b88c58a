// SPDX-License-Identifier: GPL-3.0-or-later
// Which page of a flip-book is due at a moment. Kept apart from the page that shows it: a browser
// draws when it likes, and a film that counted its drawings would run at the speed of the screen.

export class Player {
  #began: number | undefined;

  constructor(
    readonly pages: number,
    readonly rate: number,
    readonly first: number,
  ) {}

  /** The page at `now`, in milliseconds of any clock; the first call begins. After the last comes the first. */
  at(now: number): number {
    this.#began ??= now;
    const turned = Math.floor(((now - this.#began) * this.rate) / 1000);
    return (this.first + turned) % this.pages;
  }
}

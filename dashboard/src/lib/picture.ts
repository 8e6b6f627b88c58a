// SPDX-License-Identifier: GPL-3.0-or-later
// Loads a picture again that did not come: the farm may have been away just when it was asked.

/** First wait before another try, in milliseconds; each further one is twice as long, ... */
const FIRST_MS = 1000;
/** ... but not longer than this. */
const LONGEST_MS = 30_000;
/** What does not come after so many tries is not there. */
const TRIES = 12;

/** A Svelte action for an `<img>`. */
export function retried(image: HTMLImageElement): { destroy(): void } {
  let tries = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const failed = (): void => {
    if (tries === TRIES) return;
    clearTimeout(timer);
    timer = setTimeout(() => image.setAttribute("src", image.src), Math.min(FIRST_MS * 2 ** tries, LONGEST_MS));
    tries += 1;
  };
  const came = (): void => {
    tries = 0;
  };
  image.addEventListener("error", failed);
  image.addEventListener("load", came);
  return {
    destroy() {
      clearTimeout(timer);
      image.removeEventListener("error", failed);
      image.removeEventListener("load", came);
    },
  };
}

// SPDX-License-Identifier: GPL-3.0-or-later
// The one connection on which the farm tells what happens. It knows the last position it was told,
// and comes back after it, so a Manager may be restarted under an open page. It does not fold events.
//
// The page reopens the stream itself (`?after=`) instead of leaving it to the browser: the browser
// gives up for good at the first HTTP error, which is what a starting Manager may answer.
import { api, Refusal } from "./api";
import { EVENT_KINDS } from "./fold";
import type { FarmEvent } from "./types";

export type ConnectionState = "connecting" | "live" | "reconnecting" | "replaying";

const RETRY_MS_MIN = 300;
const RETRY_MS_MAX = 3_000;
/** After a reconnect, this long without an event means that all missed ones have arrived. */
const REPLAY_QUIET_MS = 250;
/** A tab that slept longer than this may hold a connection whose other end is gone. */
const HIDDEN_MS_MAX = 60_000;

export interface LiveHandlers {
  /** A fresh start: everything the page knows must be read anew. */
  onFresh: () => void;
  onEvent: (event: FarmEvent) => void;
  onState: (state: ConnectionState) => void;
  /** The stream is back, and goes on where it had stopped. */
  onResumed: () => void;
}

/** The part of EventSource that is used, so that a test can stand in for it. */
export interface Source {
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void;
  close(): void;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
}

export interface LiveEnvironment {
  open: (url: string) => Source;
  probe: (position: string) => Promise<unknown>;
}

const browser: LiveEnvironment = {
  open: (url) => new EventSource(url) as unknown as Source,
  probe: api.probeEvents,
};

/** Whether a refusal means that the position itself is not accepted, now or later. */
function positionRefused(cause: unknown): boolean {
  return cause instanceof Refusal && [400, 404, 410, 416, 422].includes(cause.status);
}

export class LiveConnection {
  #source: Source | undefined;
  #position: string | undefined;
  #retryMs = RETRY_MS_MIN;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  #state: ConnectionState = "connecting";
  #openedAt = 0;
  #closed = false;

  constructor(
    private readonly handlers: LiveHandlers,
    private readonly environment: LiveEnvironment = browser,
  ) {}

  get position(): string | undefined {
    return this.#position;
  }

  start(): void {
    this.#open();
  }

  stop(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#quietTimer);
    this.#source?.close();
  }

  /** Reopens at once: the network came back, or the tab was away for long. */
  reopen(): void {
    if (this.#closed) return;
    this.#setState("reconnecting");
    this.#retryMs = RETRY_MS_MIN;
    this.#open();
  }

  #open(): void {
    clearTimeout(this.#retryTimer);
    this.#source?.close();
    const after = this.#position;
    const source = this.environment.open(
      after === undefined ? api.eventsPath : `${api.eventsPath}?after=${encodeURIComponent(after)}`,
    );
    this.#source = source;
    const current = (act: () => void) => {
      if (source === this.#source && !this.#closed) act();
    };
    source.onopen = () => current(() => this.#opened(after !== undefined));
    source.onerror = () => current(() => void this.#lost());
    source.addEventListener("hello", (message) => current(() => this.#hello(message, after !== undefined)));
    for (const kind of [...EVENT_KINDS, "message"]) {
      source.addEventListener(kind, (message) => current(() => this.#received(message)));
    }
  }

  #opened(resuming: boolean): void {
    this.#retryMs = RETRY_MS_MIN;
    this.#openedAt = Date.now();
    if (!resuming) return;
    this.#setState("replaying");
    this.#awaitQuiet();
    this.handlers.onResumed();
  }

  /** The first message where nothing was resumed: from here on nothing is missed. */
  #hello(message: MessageEvent<string>, resuming: boolean): void {
    const said = JSON.parse(message.data) as { position?: string };
    this.#position = said.position ?? (message.lastEventId || this.#position);
    if (resuming) return;
    this.#setState("live");
    this.handlers.onFresh();
  }

  #received(message: MessageEvent<string>): void {
    const event = JSON.parse(message.data) as FarmEvent;
    this.#position = message.lastEventId || event.position;
    if (this.#state === "replaying") {
      if (Date.parse(event.time) >= this.#openedAt) this.#setState("live");
      else this.#awaitQuiet();
    }
    this.handlers.onEvent(event);
  }

  #awaitQuiet(): void {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => {
      if (this.#state === "replaying") this.#setState("live");
    }, REPLAY_QUIET_MS);
  }

  async #lost(): Promise<void> {
    this.#source?.close();
    this.#source = undefined;
    clearTimeout(this.#quietTimer);
    if (this.#state !== "connecting") this.#setState("reconnecting");
    // EventSource tells no status code, so a plain request asks whether the position still holds.
    if (this.#position !== undefined) {
      try {
        await this.environment.probe(this.#position);
      } catch (cause) {
        if (positionRefused(cause)) this.#position = undefined;
      }
    }
    if (this.#closed || this.#source !== undefined) return;
    this.#retryTimer = setTimeout(() => this.#open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
  }

  #setState(state: ConnectionState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.handlers.onState(state);
  }
}

/** Reopens the connection when the browser says that it may have been cut without a word. */
export function watchTheBrowser(connection: LiveConnection): void {
  let hiddenAt = 0;
  window.addEventListener("online", () => connection.reopen());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenAt = Date.now();
    else if (hiddenAt !== 0 && Date.now() - hiddenAt > HIDDEN_MS_MAX) connection.reopen();
  });
}

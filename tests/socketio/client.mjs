// SPDX-License-Identifier: GPL-3.0-or-later
// The original Socket.IO client of version 2; it writes down what it hears.
import io from "socket.io-client";

const EVENTS = ["/lifecycle", "/status", "/jobs", "/task", "/tasklog", "/last-rendered", "/workers", "/workertags"];

export class Client {
  constructor(url, transports) {
    this.heard = [];
    this.socket = io(url, { transports, forceNew: true, reconnectionDelay: 250, reconnectionDelayMax: 3000 });
    for (const event of EVENTS) this.socket.on(event, (payload) => this.heard.push({ event, payload }));
    this.connected = new Promise((done) => this.socket.once("connect", done));
  }

  /** Sends a subscription; gives the Manager's answer. */
  ask(op, type, uuid) {
    return new Promise((done) => this.socket.emit("/subscription", { op, type, ...(uuid && { uuid }) }, done));
  }

  of(event) {
    return this.heard.filter((one) => one.event === event).map((one) => one.payload);
  }

  close() {
    this.socket.close();
  }
}

// SPDX-License-Identifier: GPL-3.0-or-later
// What a regeneration would do, sorted as a person thinks of it: kept, queued, retired. Pure.
import type { Regenerated, SomeTasks } from "./again";

export interface Sort {
  word: "kept" | "queued" | "retired";
  /** Undefined while it is not known. */
  count: number | undefined;
  why: string;
  names: readonly string[];
}

const parts = (...some: (string | false)[]) => some.filter((part) => part !== false).join(", ");
const counted = (tasks: SomeTasks, word: string) => tasks.count > 0 && `${tasks.count} ${word}`;

export function sorts(told: Regenerated | undefined): readonly Sort[] {
  if (told === undefined) {
    return (["kept", "queued", "retired"] as const).map((word) => ({ word, count: undefined, why: "", names: [] }));
  }
  const { kept, again, changed, added, vanished } = told;
  return [
    { word: "kept", count: kept - again, why: "with what they have done", names: [] },
    {
      word: "queued",
      count: changed.count + added.count + again,
      why: parts(counted(changed, "changed"), counted(added, "new"), again > 0 && `${again} without a result`),
      names: [...changed.names, ...added.names],
    },
    {
      word: "retired",
      count: changed.count + vanished.count,
      why: parts(counted(changed, "replaced"), counted(vanished, "gone")),
      names: [...changed.names, ...vanished.names],
    },
  ];
}

// SPDX-License-Identifier: GPL-3.0-or-later
// Entities by id with a fixed order, changed in batches. Each change gives a new object, so that a
// page redraws once per batch instead of once per entity. Pure: it does not know where rows come from.

export class Collection<T extends { id: string }> {
  private constructor(
    readonly items: readonly T[],
    private readonly places: ReadonlyMap<string, number>,
    private readonly order: (a: T, b: T) => number,
  ) {}

  static empty<T extends { id: string }>(order: (a: T, b: T) => number): Collection<T> {
    return new Collection<T>([], new Map(), order);
  }

  static of<T extends { id: string }>(items: Iterable<T>, order: (a: T, b: T) => number): Collection<T> {
    return Collection.#sorted([...items], order);
  }

  static #sorted<T extends { id: string }>(items: T[], order: (a: T, b: T) => number): Collection<T> {
    items.sort(order);
    return new Collection(items, new Map(items.map((item, place) => [item.id, place])), order);
  }

  get(id: string | undefined): T | undefined {
    const place = id === undefined ? undefined : this.places.get(id);
    return place === undefined ? undefined : this.items[place];
  }

  /** Puts rows in, replacing those of the same id. Sorts again only where that can matter. */
  put(rows: readonly T[]): Collection<T> {
    if (rows.length === 0) return this;
    const items = [...this.items];
    let moved = false;
    for (const row of rows) {
      const place = this.places.get(row.id);
      const before = place === undefined ? undefined : items[place];
      if (place === undefined || before === undefined) {
        items.push(row);
        moved = true;
      } else {
        moved ||= this.order(before, row) !== 0;
        items[place] = row;
      }
    }
    return moved ? Collection.#sorted(items, this.order) : new Collection(items, this.places, this.order);
  }

  /** Changes fields of rows that are here; ids that are not here are left alone. */
  patch(patches: ReadonlyMap<string, Partial<T>>): Collection<T> {
    const rows: T[] = [];
    for (const [id, fields] of patches) {
      const row = this.get(id);
      if (row !== undefined) rows.push({ ...row, ...fields });
    }
    return this.put(rows);
  }

  without(id: string): Collection<T> {
    if (!this.places.has(id)) return this;
    return Collection.#sorted(
      this.items.filter((item) => item.id !== id),
      this.order,
    );
  }
}

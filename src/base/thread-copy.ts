/**
 * Large plain data on its way from one thread to another, in pieces. A message is copied in one go where it is received, and one of 8,000 small
 * objects takes longer than one client may have of a turn.
 *
 *   sender    value ─ takeApart ─▶ head, pieces
 *   receiver  head ─ Assembly ─ put(piece) … one in each turn ─▶ value
 *
 * Rule: what is put together is equal to what was taken apart. Objects that stand in one list many times stand there once after it, too; what lists
 * share among each other may be copied for each.
 */
import { assert } from './errors.ts'

/** Of objects and lists in a piece: some 0.3 µs each, and several times that where the code is new or the core is shared. */
const nodesMax = 2_000
/** Of what is neither: strings and numbers are copied in a tenth of the time. */
const leafNodes = 0.1

/** Where in the value something stands. */
type Path = readonly (string | number)[]
type Plain = { [key: string]: unknown }

export interface Piece {
  readonly path: Path
  /** What is to be added to the list there. */
  readonly items?: readonly unknown[]
  /** The last of a list in which things stand many times: which of its items stands at each place. */
  readonly order?: Uint32Array
}

export interface TakenApart {
  /** The value without what is in the pieces. */
  readonly head: unknown
  readonly pieces: readonly Piece[]
}

export function takeApart(value: unknown): TakenApart {
  const pieces: Piece[] = []
  return { head: lighten(value, [], pieces), pieces }
}

/** What is too much for one piece is left out, and comes in pieces of its own. The value itself is not changed. */
function lighten(value: unknown, path: Path, pieces: Piece[]): unknown {
  if (nodesOf(value) <= nodesMax) return value
  if (Array.isArray(value)) {
    cut(value, path, pieces)
    return []
  }
  if (!isPlain(value)) return value
  const light: Plain = {}
  let nodes = 0
  for (const [key, field] of Object.entries(value)) {
    const ofField = nodesOf(field)
    const fits = nodes + ofField <= nodesMax
    light[key] = fits ? field : Array.isArray(field) ? [] : lighten(field, [...path, key], pieces)
    if (fits) nodes += ofField
    else if (Array.isArray(field)) cut(field, [...path, key], pieces)
  }
  return light
}

function cut(list: readonly unknown[], path: Path, pieces: Piece[]): void {
  const places = new Map<unknown, number>()
  for (const item of list) if (!places.has(item)) places.set(item, places.size)
  let items: unknown[] = []
  let nodes = 0
  const seen = new Set<object>()
  const late: Piece[] = []
  const end = (): void => {
    if (items.length > 0) pieces.push({ path, items })
    // What an item lacks comes behind it.
    pieces.push(...late.splice(0))
    items = []
    nodes = 0
    seen.clear()
  }
  for (const [item, at] of places) {
    items.push(lighten(item, [...path, at], late))
    nodes += Math.min(nodesOf(item, seen), nodesMax)
    if (nodes >= nodesMax) end()
  }
  end()
  if (places.size < list.length)
    pieces.push({ path, order: Uint32Array.from(list, (item) => places.get(item) as number) })
}

/** What a message copies once is counted once. */
function nodesOf(value: unknown, seen = new Set<object>()): number {
  if (typeof value !== 'object' || value === null) return leafNodes
  if (seen.has(value)) return leafNodes
  seen.add(value)
  if (!Array.isArray(value) && !isPlain(value)) return 1
  let nodes = 1
  for (const one of Array.isArray(value) ? value : Object.values(value)) nodes += nodesOf(one, seen)
  return nodes
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** A value that is put together again. It is whole when all pieces were put, in their order. */
export class Assembly {
  readonly value: unknown

  constructor(head: unknown) {
    this.value = head
  }

  put({ path, items, order }: Piece): void {
    let list: unknown = this.value
    for (const key of path) list = (list as Plain)[key]
    assert(Array.isArray(list), 'a piece belongs to a list')
    if (items !== undefined) for (const item of items) list.push(item)
    if (order === undefined) return
    const distinct = [...list]
    list.length = 0
    for (const place of order) list.push(distinct[place])
  }
}

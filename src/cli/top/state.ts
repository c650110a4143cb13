/**
 * `top`: who is talking to Cassandra now, as a screen that one can sort, filter and look into.
 *
 *   keys ─▶ state.ts (what is asked for) ─▶ view.ts (lines of a picture) ─▶ Screen
 *
 * The rule one must not break: a picture is a function of what was reported, of the state and of the size of the terminal.
 *
 * This file: what keys do.
 */
import type { TrafficLine } from '../../control/traffic.ts'

const sortings = ['rate', 'errors', 'p99', 'name'] as const

export interface TopState {
  readonly sort: (typeof sortings)[number]
  readonly filter: string
  /** Keys are letters of the filter. */
  readonly typing: boolean
  /** Of the lines that are shown. */
  readonly selected: number
  /** One identity alone. */
  readonly into: { readonly workload: string; readonly person: string | undefined } | undefined
  readonly ended: boolean
}

export const topStart: TopState = {
  sort: 'rate',
  filter: '',
  typing: false,
  selected: 0,
  into: undefined,
  ended: false,
}

const filterMax = 60
const up = ['\u001b[A', 'k']
const down = ['\u001b[B', 'j']
const enter = ['\r', '\n']
const leave = '\u001b'
const backspace = ['\u007f', '\b']

/** @param lines those that are shown, in their order */
export function pressed(state: TopState, key: string, lines: readonly TrafficLine[]): TopState {
  if (key === '\u0003') return { ...state, ended: true }
  if (state.typing) return typed(state, key)
  const last = Math.max(0, lines.length - 1)
  if (up.includes(key)) return { ...state, selected: Math.max(0, Math.min(last, state.selected) - 1) }
  if (down.includes(key)) return { ...state, selected: Math.min(last, state.selected + 1) }
  if (enter.includes(key)) {
    const line = lines[Math.min(last, state.selected)]
    if (line === undefined || state.into !== undefined) return state
    return { ...state, into: { workload: line.workload, person: line.person }, selected: 0 }
  }
  switch (key) {
    case 'q':
      return { ...state, ended: true }
    case 's':
      return { ...state, sort: sortings[(sortings.indexOf(state.sort) + 1) % sortings.length] ?? 'rate', selected: 0 }
    case '/':
      return { ...state, typing: true, selected: 0 }
    case leave:
      return state.into === undefined
        ? { ...state, filter: '', selected: 0 }
        : { ...state, into: undefined, selected: 0 }
    default:
      return state
  }
}

function typed(state: TopState, key: string): TopState {
  if (enter.includes(key)) return { ...state, typing: false }
  if (key === leave) return { ...state, typing: false, filter: '' }
  if (backspace.includes(key)) return { ...state, filter: state.filter.slice(0, -1) }
  // Letters only: no keys of a terminal that begin with an escape.
  if (!/^[\x20-\x7e]+$/.test(key)) return state
  return { ...state, filter: (state.filter + key).slice(0, filterMax) }
}

/** The lines that are asked for, in their order. */
export function linesOf(all: readonly TrafficLine[], { sort, filter, into }: TopState): TrafficLine[] {
  const found = all.filter((line) => {
    if (into !== undefined && (line.workload !== into.workload || line.person !== into.person)) return false
    return filter === '' || textOf(line).includes(filter.toLowerCase())
  })
  return found.sort((a, b) => orders[sort](a, b) || b.count - a.count || (textOf(a) < textOf(b) ? -1 : 1))
}

const orders: Readonly<Record<TopState['sort'], (a: TrafficLine, b: TrafficLine) => number>> = {
  rate: (a, b) => b.rate - a.rate,
  errors: (a, b) => failed(b) - failed(a),
  p99: (a, b) => b.p99Micros - a.p99Micros,
  name: (a, b) => (textOf(a) < textOf(b) ? -1 : textOf(a) > textOf(b) ? 1 : 0),
}

/** A refusal counts as one. */
function failed({ verdict, errors, count }: TrafficLine): number {
  return verdict === 'deny' ? count : errors
}

function textOf({ workload, person = '', keyspace = '', table = '', operation, verdict, rule }: TrafficLine): string {
  return `${workload} ${person} ${keyspace}.${table} ${operation} ${verdict} ${rule}`.toLowerCase()
}

/** The command line of `npm run bench`. */
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { RingfenceError } from '../src/base/errors.ts'
import type { DearestPlan } from './dearest/plan.ts'
import { basicLoads, type Load, otherLoads, parseLoad } from './loads.ts'

export interface Options {
  readonly rounds: number
  /** Of each measurement, without the second that warms it up. */
  readonly seconds: number
  readonly workers: number
  readonly protocol: 4 | 5
  readonly rowBytes: number
  /** Measured in each round. */
  readonly loads: readonly Load[]
  /** Measured once for each start of the processes: those that no bound is set for. */
  readonly seldomLoads: readonly Load[]
  /** Names that `systems/all.ts` knows. */
  readonly systems: readonly string[]
  readonly against: readonly string[]
  readonly cqlProxy: string | undefined
  readonly shotover: string | undefined
  readonly profileDirectory: string | undefined
  /** Where the JSON goes; undefined writes none. */
  readonly output: string | undefined
  readonly stateDir: string
  /** Real Cassandra instead of the stub. */
  readonly latte: boolean
  readonly nodes: number
  /** Requests a second for `latte`; half of what the slowest path takes where it is not given. */
  readonly rate: number | undefined
  /** That `latte` has to each node. */
  readonly connections: number
  /** Everything on all cores, instead of the hops on half of them and the ends on the rest. */
  readonly sharedCores: boolean
  /** The dearest inputs instead of speed. */
  readonly dearest: DearestPlan | undefined
  /** Log-ins by token instead of requests. */
  readonly logIns: LogInsOptions | undefined
  /** Memory instead of speed, with this many idle sessions, after so many seconds of silence. */
  readonly memory: { readonly sessions: number; readonly settleSeconds: number } | undefined
}

export interface LogInsOptions {
  readonly rounds: number
  /** Of each measurement. */
  readonly seconds: number
  readonly perSecond: number
  /** Of requests with a transaction token and without. */
  readonly requestRounds: number
  /** Of `bare`, `sidecar`, `gateway` and `requests` those that are measured; all where it is undefined. */
  readonly only: readonly string[] | undefined
}

const systemsQuick = ['direct', 'nginx', 'haproxy', 'envoy', 'mesh'] as const

/** @throws RingfenceError USAGE for a load or a number that is none, TypeError for an option that is none */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      'client-tls': { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      workers: { type: 'string', default: '1' },
      protocol: { type: 'string', default: '4' },
      'row-bytes': { type: 'string', default: '100' },
      systems: { type: 'string' },
      against: { type: 'string', multiple: true, default: [] },
      'cql-proxy': { type: 'string' },
      shotover: { type: 'string' },
      profile: { type: 'string' },
      loads: { type: 'string' },
      latte: { type: 'boolean', default: false },
      nodes: { type: 'string', default: '1' },
      rate: { type: 'string' },
      connections: { type: 'string', default: '8' },
      'shared-cores': { type: 'boolean', default: false },
      memory: { type: 'boolean', default: false },
      dearest: { type: 'boolean', default: false },
      only: { type: 'string' },
      'log-ins': { type: 'boolean', default: false },
      sessions: { type: 'string', default: '10000' },
      output: { type: 'string' },
      'state-dir': { type: 'string', default: join(import.meta.dirname, '..', '.ringfence') },
    },
  })
  const { quick, latte } = values
  const name = latte ? 'latte.json' : values.memory ? 'memory.json' : 'results.json'
  const systems = values.systems?.split(',') ?? [...systemsQuick, ...(quick ? [] : ['mesh-w2'])]
  const inTls = (loads: readonly Load[]): readonly Load[] => (values['client-tls'] ? withTls(loads) : loads)
  const loads = inTls(values.loads?.split(',').map(parseLoad) ?? basicLoads)
  const seldomLoads = quick || values.loads !== undefined ? [] : inTls(otherLoads)
  return {
    rounds: wholeNumber('rounds', values.rounds ?? (quick ? '3' : latte ? '40' : '15')),
    seconds: wholeNumber('seconds', values.seconds ?? (latte && !quick ? '3' : '2')),
    workers: wholeNumber('workers', values.workers),
    protocol: values.protocol === '5' ? 5 : 4,
    rowBytes: wholeNumber('row-bytes', values['row-bytes']),
    loads,
    seldomLoads: seldomLoads.filter(({ key }) => loads.every((load) => load.key !== key)),
    systems: [
      ...systems,
      ...(values['cql-proxy'] === undefined ? [] : ['cql-proxy']),
      ...(values.shotover === undefined ? [] : ['shotover', 'shotover-passing']),
    ],
    against: values.against,
    cqlProxy: pathOf(values['cql-proxy']),
    shotover: pathOf(values.shotover),
    profileDirectory: pathOf(values.profile),
    output: values.output ?? (quick ? undefined : join(import.meta.dirname, name)),
    stateDir: resolve(values['state-dir']),
    latte,
    nodes: wholeNumber('nodes', values.nodes),
    dearest: values.dearest
      ? {
          runs: quick ? 1 : 3,
          floodSeconds: quick ? 25 : 60,
          only: values.only,
          profileDirectory: pathOf(values.profile),
        }
      : undefined,
    logIns: values['log-ins']
      ? {
          rounds: wholeNumber('rounds', values.rounds ?? (quick ? '1' : '5')),
          seconds: wholeNumber('seconds', values.seconds ?? (quick ? '4' : '8')),
          perSecond: wholeNumber('rate', values.rate ?? '500'),
          requestRounds: wholeNumber('rounds', values.rounds ?? (quick ? '3' : '15')),
          only: values.only?.split(','),
        }
      : undefined,
    memory: values.memory
      ? { sessions: wholeNumber('sessions', values.sessions), settleSeconds: quick ? 5 : 30 }
      : undefined,
    sharedCores: values['shared-cores'],
    connections: wholeNumber('connections', values.connections),
    rate: values.rate === undefined ? undefined : wholeNumber('rate', values.rate),
  }
}

/** The same loads over TLS, each once. The driver's has no such form. */
function withTls(loads: readonly Load[]): readonly Load[] {
  const keys = loads.map(({ key, tls, maker }) => (tls || maker === 'driver' ? key : `${key}-tls`))
  return [...new Set(keys)].map(parseLoad)
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1)
    throw new RingfenceError('USAGE', `--${option} is a whole number from 1 on, not "${text}"`)
  return value
}

function pathOf(text: string | undefined): string | undefined {
  return text === undefined ? undefined : resolve(text)
}

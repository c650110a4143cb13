import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { after as afterAll, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  after,
  contain,
  contained,
  containOwnFault,
  every,
  faultsContained,
  nextTurn,
  nothingEnds,
  type Owner,
  reportFaults,
  settle,
  soon,
  unawaited,
} from './contained.ts'
import { assert as assertOurs, isOwnFault, RingfenceError } from './errors.ts'

class Session implements Owner {
  readonly ended: unknown[] = []

  onFault(reason: unknown): void {
    this.ended.push(reason)
  }
}

const fault = new Error('of our own')
const fail = (): never => {
  throw fault
}

/** An `async` function fits where one is wanted that gives nothing. */
const later = (work: () => void) => async (): Promise<void> => {
  await sleep(1)
  work()
}

/** Each kind of place: begins something that calls `work` once. */
const places: Readonly<Record<string, (owner: Owner, work: () => void) => unknown>> = {
  now: (owner, work) => contain(owner, 'now', work),
  'a timer': (owner, work) => after(owner, 'a timer', 1, work),
  'an interval': (owner, work) => {
    const timer = every(owner, 'an interval', 1, () => {
      clearInterval(timer)
      work()
    })
  },
  'the next turn': (owner, work) => nextTurn(owner, 'the next turn', work),
  'a microtask': (owner, work) => soon(owner, 'a microtask', work),
  'an event': (owner, work) => {
    const emitter = new EventEmitter()
    emitter.on('data', contained(owner, 'an event', work))
    setImmediate(() => emitter.emit('data'))
  },
  'a promise kept': (owner, work) => settle(owner, 'a promise kept', Promise.resolve(), work),
  'work that nobody waits for': (owner, work) =>
    unawaited(owner, 'work that nobody waits for', Promise.resolve().then(work)),
  'the rest of what began now': (owner, work) => contain(owner, 'the rest of what began now', later(work)),
  'the rest of a timer': (owner, work) => after(owner, 'the rest of a timer', 1, later(work)),
  'the rest of an event': (owner, work) => {
    const emitter = new EventEmitter()
    emitter.on('data', contained(owner, 'the rest of an event', later(work)))
    setImmediate(() => emitter.emit('data'))
  },
  'the rest of a promise kept': (owner, work) =>
    settle(owner, 'the rest of a promise kept', Promise.resolve(), later(work)),
  'a promise refused': (owner, work) => settle(owner, 'a promise refused', Promise.reject(fault), fail, work),
}

describe('a fault', () => {
  const reports: [string, unknown][] = []
  const before = reportFaults((place, reason) => reports.push([place, reason]))
  const escaped: unknown[] = []
  const onEscape = (reason: unknown) => escaped.push(reason)
  process.on('uncaughtException', onEscape)
  process.on('unhandledRejection', onEscape)
  afterAll(() => {
    reportFaults(before)
    process.off('uncaughtException', onEscape)
    process.off('unhandledRejection', onEscape)
  })
  beforeEach(() => {
    reports.length = 0
  })

  for (const [place, begin] of Object.entries(places)) {
    it(`ends its owner and nothing else, is counted and reported: ${place}`, async () => {
      const [broken, neighbour] = [new Session(), new Session()]
      const counted = faultsContained()
      let served = 0
      begin(broken, fail)
      begin(neighbour, () => served++)
      await sleep(50)
      assert.deepEqual(broken.ended, [fault])
      assert.deepEqual(neighbour.ended, [])
      assert.equal(served, 1)
      assert.equal(faultsContained(), counted + 1)
      assert.deepEqual(reports, [[place, fault]])
      assert.deepEqual(escaped, [])
    })
  }

  it('in a promise that nobody expects to be refused is one too', async () => {
    const session = new Session()
    settle(session, 'an answer', Promise.reject(fault), () => assert.fail('it was refused'))
    await sleep(30)
    assert.deepEqual(session.ended, [fault])
  })

  it('while its owner is ended goes no further', () => {
    contain({ onFault: fail }, 'twice', fail)
    assert.deepEqual(reports, [
      ['twice', fault],
      ['twice, while it was ended', fault],
    ])
  })

  it('does not stop an interval that nothing ends', async () => {
    let times = 0
    const timer = every(nothingEnds, 'a sweep', 1, () => {
      times++
      fail()
    })
    await sleep(100)
    clearInterval(timer)
    assert.ok(times > 1)
  })
})

describe('a fault of our own', () => {
  const thrown = (work: () => unknown): unknown => {
    try {
      work()
    } catch (reason) {
      return reason
    }
    return undefined
  }
  const none: { readonly field: string } | undefined = undefined
  const own: Record<string, unknown> = {
    'an assertion': thrown(() => assertOurs(false, 'cannot be')),
    'a field of nothing': thrown(() => none!.field),
    'a name that is not there': new ReferenceError('x is not defined'),
    'a read behind a buffer': thrown(() => Buffer.alloc(1).readInt32BE(0)),
    'an argument of another type': thrown(() => Buffer.from(1 as never)),
    'a stack that is too deep': new RangeError('Maximum call stack size exceeded'),
  }
  const foreign: Record<string, unknown> = {
    'a fault of a peer': new RingfenceError('UNAVAILABLE', 'away'),
    'an error of the system': Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }),
    'an address that is none': thrown(() => new URL('no address')),
    'an end on demand': AbortSignal.abort().reason,
    'an error without a code': new Error('the other end is gone'),
    'no error': 'gone',
  }

  for (const [what, reason] of Object.entries(own)) it(`is ${what}`, () => assert.equal(isOwnFault(reason), true))
  for (const [what, reason] of Object.entries(foreign))
    it(`is not ${what}`, () => assert.equal(isOwnFault(reason), false))

  it('is contained where it is caught with others, and they are not', () => {
    const before = faultsContained()
    for (const reason of Object.values(foreign)) containOwnFault('a loop', reason)
    assert.equal(faultsContained(), before)
    for (const reason of Object.values(own)) containOwnFault('a loop', reason)
    assert.equal(faultsContained(), before + Object.keys(own).length)
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { HedgeClock } from './hedge-clock.ts'

describe('what is to be done a fixed time later', () => {
  it('is done in the order it came, not before its time, whatever others wait for', async () => {
    const clock = new HedgeClock(() => performance.now())
    const started = performance.now()
    const done: string[] = []
    const at = new Map<string, number>()
    const act = (name: string) => () => {
      done.push(name)
      at.set(name, performance.now() - started)
    }
    clock.after(40, act('40 first'))
    clock.after(10, act('10'))
    await sleep(15)
    clock.after(40, act('40 second'))
    await sleep(150)
    assert.deepEqual(done, ['10', '40 first', '40 second'])
    assert.ok(at.get('10')! >= 9 && at.get('40 first')! >= 39 && at.get('40 second')! >= 54, String([...at]))
  })

  it('is not done after the clock was stopped', async () => {
    const clock = new HedgeClock(() => performance.now())
    let done = 0
    clock.after(5, () => done++)
    clock.stop()
    await sleep(30)
    assert.equal(done, 0)
  })
})

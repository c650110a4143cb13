import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Processes } from './processes.ts'

const sleeper = ['-c', 'echo started; exec sleep 60']
/** A leader whose worker outlives it unless the whole group is stopped. */
const withWorker = ['-c', 'sleep 60 & echo $!; exec sleep 60']
const stubborn = ['-c', 'trap "" TERM; while :; do sleep 0.1; done']

describe('Processes', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'processes-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('stops what it started, with its workers, and takes its records away', async () => {
    const processes = await Processes.open(dir)
    const child = await processes.spawn('one', 'sh', withWorker)
    const worker = await firstNumberIn(child.logFile)
    await processes.close()
    assert.equal((await child.exited).unexpected, false)
    assert.equal(isAlive(child.pid), false)
    assert.equal(isAlive(worker), false)
    assert.equal(existsSync(join(dir, 'run', 'one.json')), false)
  })

  it('kills what does not stop in time', async () => {
    const processes = await Processes.open(dir)
    const child = await processes.spawn('one', 'sh', stubborn, { graceMs: 300 })
    await child.stop()
    assert.equal((await child.exited).signal, 'SIGKILL')
    await processes.close()
  })

  it('says when a child ended unasked, and starts nothing after close', async () => {
    const processes = await Processes.open(dir)
    const child = await processes.spawn('one', 'sh', ['-c', 'exit 3'])
    assert.deepEqual(await child.exited, { code: 3, signal: null, unexpected: true })
    await processes.close()
    await assert.rejects(processes.spawn('two', 'sh', sleeper), { code: 'UNAVAILABLE' })
  })

  it('answers UNAVAILABLE when the program is not there', async () => {
    const processes = await Processes.open(dir)
    await assert.rejects(processes.spawn('one', join(dir, 'no-such-program'), []), { code: 'UNAVAILABLE' })
    await processes.close()
  })

  it('refuses a folder that a live process holds, and takes over from a dead one', async () => {
    const processes = await Processes.open(dir)
    const owner = JSON.parse(readFileSync(join(dir, 'run', 'owner.json'), 'utf8'))
    await processes.close()
    const stranger = await strangerIn(dir)
    writeFileSync(join(dir, 'run', 'owner.json'), JSON.stringify({ ...owner, ...stranger.record }))
    await assert.rejects(Processes.open(dir), { code: 'USAGE' })
    writeFileSync(join(dir, 'run', 'owner.json'), JSON.stringify({ ...owner, ...stranger.record, start: 1 }))
    await (await Processes.open(dir)).close()
    await stranger.stop()
  })

  it('stops what a crashed run left behind, and leaves a stranger with the same number alone', async () => {
    const crashed = await Processes.open(dir)
    const left = await crashed.spawn('left', 'sh', sleeper)
    const record = readFileSync(join(dir, 'run', 'left.json'), 'utf8')
    // As after a crash: nobody closed, and a record whose number belongs to somebody else by now.
    const other = mkdtempSync(join(tmpdir(), 'processes-'))
    const elsewhere = await Processes.open(other)
    const stranger = await elsewhere.spawn('stranger', 'sh', sleeper)
    writeFileSync(
      join(dir, 'run', 'reused.json'),
      JSON.stringify({ ...JSON.parse(record), name: 'reused', pid: stranger.pid, start: 1 }),
    )

    const said: string[] = []
    const next = await Processes.open(dir, (line) => said.push(line))
    assert.equal(isAlive(left.pid), false)
    assert.equal(isAlive(stranger.pid), true)
    assert.deepEqual(said, [`stopping left (pid ${left.pid}), left over from an earlier run`])
    await next.close()
    await elsewhere.close()
    rmSync(other, { recursive: true, force: true })
  })
})

/** A live process of another folder, with its record. */
async function strangerIn(dir: string): Promise<{ record: { pid: number; start: number }; stop(): Promise<void> }> {
  const processes = await Processes.open(join(dir, 'other'))
  const child = await processes.spawn('owner-of-other', 'sh', sleeper)
  const { pid, start } = JSON.parse(readFileSync(join(dir, 'other', 'run', 'owner-of-other.json'), 'utf8'))
  assert.equal(pid, child.pid)
  return { record: { pid, start }, stop: () => processes.close() }
}

async function firstNumberIn(file: string): Promise<number> {
  for (;;) {
    const text = readFileSync(file, 'utf8')
    if (/^\d+\n/.test(text)) return Number.parseInt(text, 10)
    await sleep(10)
  }
}

function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.[0] !== 'Z'
  } catch {
    return false
  }
}

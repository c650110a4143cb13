import assert from 'node:assert/strict'
import { it } from 'node:test'
import { cases } from './cases.ts'
import { parseLine, runProgram } from './drive.ts'

const say = (lines: readonly string[], exit: number) => ({
  command: process.execPath,
  args: ['-e', `console.log(${JSON.stringify(lines.join('\n'))}); process.exit(${exit})`],
  env: {},
})

it('reads each kind of line, and takes other output for what it is', () => {
  assert.deepEqual(parseLine('ok bind uuid'), ['bind uuid', { kind: 'ok' }])
  assert.deepEqual(parseLine('ok bind unset # skip has none'), ['bind unset', { kind: 'skip', why: 'has none' }])
  assert.deepEqual(parseLine('not ok lwt: Error: a: b'), ['lwt', { kind: 'failed', why: 'Error: a: b' }])
  assert.equal(parseLine('WARNING: this server is newer'), undefined)
})

it('gives what a program said, and lacks what a program that stopped early did not say', async (t) => {
  const verdicts = await runProgram(say(['ok connect', 'not ok hosts: none', 'noise'], 1), {}, t)
  assert.deepEqual(verdicts.get('connect'), { kind: 'ok' })
  assert.deepEqual(verdicts.get('hosts'), { kind: 'failed', why: 'none' })
  assert.equal(verdicts.get('schema change'), undefined)
})

it('refuses a program that ends with an error although it called every case good', async (t) => {
  const lines = cases.map((name) => `ok ${name}`)
  await assert.rejects(runProgram(say(lines, 3), {}, t), /ended with 3/)
  assert.equal((await runProgram(say(lines, 0), {}, t)).size, cases.length)
})

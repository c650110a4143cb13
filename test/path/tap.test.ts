/** `/tap` of a sidecar and `ringfence tap`: what is told while clients are served, and that clients do not feel who looks. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandLines } from '../../src/cli/record/command-lines.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { type AdminPage, type AdminServer, startAdminServer } from '../../src/mesh/admin/server.ts'
import { newWatch, sidecarPages } from '../../src/sidecar/admin.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import type { RawClient } from './client.ts'
import { endPrograms, Program } from './program.ts'
import { type RunningSidecar, until, World } from './world.ts'

const version = 4
const read = 'SELECT v FROM shop.items'
const write = "INSERT INTO shop.items (k) VALUES ('secret')"

let world: World
let sidecar: RunningSidecar
let socket: AdminServer
let port: AdminServer
let pages: AdminPage[]
let alice: RawClient
let bob: RawClient
let folder: string
let commands: CommandLines
const watch = newWatch()
const log = createLogger('tap', { write() {} })

before(async () => {
  world = await World.make()
  folder = mkdtempSync(join(tmpdir(), 'rf-tap-'))
  commands = new CommandLines(folder)
  sidecar = await world.sidecar({ more: { consumers: [watch.counted, watch.tapped] } })
  const { feed } = sidecar
  const agent = { role: 'sidecar' as const, name: 'node1', credentials: feed.credentials, value: feed.value.bind(feed) }
  const config = { control: { url: 'https://control:8443' } }
  const proxy = { agent, version: '1', configFile: 'sidecar.yaml', config }
  pages = sidecarPages({ proxy, sidecar: sidecar.sidecar, ...watch, profiling: false, drain() {} })
  socket = await startAdminServer({ path: join(folder, 'admin.sock') }, pages, log)
  port = await startAdminServer({ host: '127.0.0.1', port: 0 }, pages, log)
  alice = await world.client(sidecar.port, 'alice', { version })
  bob = await world.client(sidecar.port, 'bob', { version })
})
after(async () => {
  endPrograms()
  commands.end()
  await Promise.all([socket, port].map((each) => each.stop()))
  await world.close()
  rmSync(folder, { recursive: true, force: true })
})

const ask = (client: RawClient, text: string) => client.ask(queryEnvelope(version, 1, text))

interface Opened {
  readonly asked: ClientRequest
  readonly answer: IncomingMessage
}

async function open(path: string): Promise<Opened> {
  const asked = request({ socketPath: socket.where, path, agent: false })
  // It is ended by whoever opened it.
  asked.on('error', () => {})
  asked.end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  return { asked, answer }
}

/** As soon as those who looked before have left, of which the sidecar hears a moment later. */
async function openWithRoom(path: string): Promise<Opened> {
  for (const endMs = performance.now() + 15_000; ; await sleep(20)) {
    const opened = await open(path)
    if (opened.answer.statusCode === 200) return opened
    assert.equal(opened.answer.statusCode, 409)
    assert.ok(performance.now() < endMs, 'those before have left')
    opened.answer.resume()
  }
}

/** Lines as they come, but for the first. */
async function look(path: string): Promise<{ lines: Record<string, unknown>[]; end: () => void }> {
  const { asked, answer } = await openWithRoom(path)
  const lines: Record<string, unknown>[] = []
  createInterface({ input: answer })
    .on('line', (line) => lines.push(JSON.parse(line) as Record<string, unknown>))
    // It is ended by whoever looks.
    .on('error', () => {})
  await until('it looks', () => lines.shift()?.event === 'looking')
  return { lines, end: () => asked.destroy() }
}

/** There is room for as many: nobody else looks. */
async function lookAtOnce() {
  return [await look('/tap'), await look('/tap'), await look('/tap'), await look('/tap')]
}

suite('/tap', () => {
  it('tells of what matches as the record does, and of nothing else', async () => {
    const all = await look('/tap')
    const denied = await look('/tap?verdict=deny')
    const bobs = await look('/tap?workload=svc/bob&keyspace=shop&table=items')
    const nobody = await look('/tap?person=corp/alice')
    const skipped = sidecar.records().length
    await ask(alice, read)
    await ask(bob, read)
    await ask(bob, write)
    await ask(bob, 'SELECT v FROM elsewhere.items')
    await until('all is told', () => all.lines.length === 4)
    const recorded = sidecar.records().slice(skipped)
    const known = (line: Record<string, unknown>) => ({ ...line, time: undefined, seq: undefined })
    assert.deepEqual(all.lines.map(known), recorded.map(known))
    await until('the others are told', () => denied.lines.length === 2 && bobs.lines.length === 2)
    assert.deepEqual(
      denied.lines.map(({ operation, verdict }) => `${operation} ${verdict}`),
      ['INSERT deny', 'SELECT deny'],
    )
    assert.deepEqual(
      bobs.lines.map(({ operation, verdict }) => `${operation} ${verdict}`),
      ['SELECT allow', 'INSERT deny'],
    )
    assert.deepEqual(nobody.lines, [])
    assert.doesNotMatch(JSON.stringify(all.lines), /secret/)
    for (const each of [all, denied, bobs, nobody]) each.end()
  })

  it('is for four at one time, by the socket only, and says what it does not know', async () => {
    const looking = await lookAtOnce()
    assert.equal((await open('/tap')).answer.statusCode, 409)
    for (const each of looking) each.end()
    assert.equal((await open('/tap?who=alice')).answer.statusCode, 400)
    const byPort = await fetch(`${port.where}/tap`)
    assert.equal(byPort.status, 403)
    assert.match(await byPort.text(), /unix:/)
  })

  it('lets nobody wait for who does not read', async () => {
    const { asked, answer } = await openWithRoom('/tap')
    const before = sidecar.records().length
    const long = `SELECT ${'v, '.repeat(900)}v FROM shop.items`
    // Some times what may wait and what a socket holds; more than a second allows where the machine is quick.
    for (let n = 0; n < 800; n++) await ask(alice, long)
    assert.equal(sidecar.records().length, before + 800)
    let text = ''
    answer.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    await until('it is told what it was not told', () => /"event":"left out","count":\d+\}/.test(text))
    asked.destroy()
  })
})

suite('ringfence tap', () => {
  /** Again and again, one after the other. */
  async function repeat(until: Promise<unknown>, work: () => Promise<unknown>): Promise<void> {
    let isOver = false
    const end = until.finally(() => {
      isOver = true
    })
    while (!isOver) {
      await work()
      await sleep(20)
    }
    await end
  }

  const tap = (...args: string[]) => new Program(['tap', '--admin', `unix:${socket.where}`, '--zone', 'UTC', ...args])

  it('shows lines for people in 80 columns, and for programs', async () => {
    const people = tap('--workload', 'svc/bob', '--table', 'shop', '--limit', '2')
    const programs = tap('--denied', '--errors', '-o', 'json', '--limit', '1')
    const over = Promise.all([people.ended, programs.ended])
    await repeat(over, async () => {
      await ask(bob, write)
      await ask(bob, read)
    })
    const ended = await over
    assert.deepEqual(
      ended.map(({ code, err }) => [code, err]),
      [
        [0, ''],
        [0, ''],
      ],
    )
    const [shown, told] = ended.map(({ out }) => out.trimEnd().split('\n'))
    assert.equal(shown?.length, 2)
    const [refused, permitted] = [...shown!].sort((a, b) => (a.includes('deny') ? -1 : b.includes('deny') ? 1 : 0))
    assert.match(refused!, /^\d\d:\d\d:\d\d\.\d{3} {2}deny {5}node1 {2}svc\/bob {2}INSERT shop\.items by default-deny$/)
    assert.match(permitted!, /^\d\d:\d\d:\d\d\.\d{3} {2}allow {4}node1 {2}svc\/bob {2}SELECT shop\.items \d+\.\d ms$/)
    for (const line of shown!) assert.ok(line.length <= 80)
    assert.equal((JSON.parse(told![0]!) as { verdict: string }).verdict, 'deny')
  })

  it('ends with 130 after Ctrl-C, and looks no more', async () => {
    const program = tap('-o', 'json')
    const said = program.says(/"operation":"SELECT"/)
    await repeat(said, () => ask(alice, read))
    program.child.kill('SIGINT')
    const { code, err } = await program.ended
    assert.deepEqual([code, err], [130, ''])
    for (const each of await lookAtOnce()) each.end()
  })

  it('says that a sidecar has gone, and ends with 1', async () => {
    const other = await startAdminServer({ path: join(folder, 'other.sock') }, pages, log)
    const program = new Program(['tap', '--admin', `unix:${other.where}`])
    await repeat(program.says(/SELECT shop\.items/), () => ask(alice, read))
    await other.stop()
    const { code, err } = await program.ended
    assert.equal(code, 1)
    assert.match(err, /^error: the sidecar at unix:\S+ has gone$/m)
  })

  it('ends with 1 and the reason where it is refused or nobody answers, and with 64 for a wrong line', async () => {
    const ends = []
    for (const args of [
      [port.where.replace('http://', '')],
      [`unix:${join(folder, 'none.sock')}`],
      ['192.0.2.1:9465'],
      [`unix:${socket.where}`, '--denied', '--verdict', 'allow'],
    ]) {
      ends.push(await commands.run(['tap', '--admin', ...args]))
    }
    ends.push(await commands.run(['tap']))
    assert.deepEqual(
      ends.map(({ code }) => code),
      [1, 1, 64, 64, 64],
    )
    assert.match(ends[0]?.err ?? '', /refuses: .*unix:/)
    assert.match(ends[1]?.err ?? '', /does not answer/)
  })
})

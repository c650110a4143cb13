/**
 * The pages of five drivers (docs/drivers.md), run as they stand there at both doors: each connects by TLS, is denied what its page says, and
 * goes on when the certificate that it began with is over and the folder has another.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, it, describe as suite, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'cassandra-driver'
import { AdminClient } from '../../../src/cli/admin-client.ts'
import { type DoorName, type MeshFixture, useMesh } from '../fixture.ts'
import { policyFile } from '../held.ts'
import { putInForce } from '../in-force.ts'
import { doorNames, driverAt } from '../people.ts'
import { blocksOf, pages, programOf } from './pages.ts'
import type { DriverName, Program } from './toolchain.ts'

const shop = 'spiffe://demo.local/svc/shop'
const denial = /spiffe:\/\/demo\.local\/svc\/shop has no SELECT permission on <table shop\.cards>/
/** The certificates that the programs start with end together where there is time, so that it is waited for once. */
const togetherMs = 150_000
const firstCertificateMsMin = 90_000
const secondCertificateMs = 3_600_000
const startMsMax = 120_000
const againMsMax = 40_000
const goneMs = 5_000

let mesh: MeshFixture
let admin: Client
let folder: string
const programs = new Map<DriverName, Program | { readonly absent: string }>()
/** Started through NGINX, and running until their certificates were over. */
const renewing: (readonly [driver: DriverName, running: Running])[] = []
let unrenewed: Running | undefined
let togetherUntilMs: number

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-pages-'))
  for (const driver of pages) programs.set(driver, await programOf(driver, join(folder, driver)))
  mesh = await useMesh()
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await admin.execute('DROP KEYSPACE IF EXISTS shop')
  const overview = blocksOf('drivers.md')
  const statements = overview.get('schema.cql')!.split(';')
  for (const statement of statements.filter((text) => text.trim() !== '')) await admin.execute(statement)
  await putInForce(mesh, `${readFileSync(policyFile, 'utf8')}---\n${overview.get('policy.yaml')}`, policyFile)
  togetherUntilMs = Date.now() + togetherMs
})
after(async () => {
  for (const [, running] of renewing) running.stop()
  unrenewed?.stop()
  await putInForce(mesh, readFileSync(policyFile, 'utf8'), policyFile)
  await admin?.execute('DROP KEYSPACE IF EXISTS shop')
  await admin?.shutdown()
  rmSync(folder, { recursive: true, force: true })
})

suite('the program of a driver’s page', () => {
  it('begins with a certificate that is not renewed', async (t) => {
    unrenewed = await startedAt(t, 'node', 'nginx')
    await unrenewed?.says(/^total 250$/, startMsMax)
  })

  for (const door of doorNames) {
    for (const driver of pages.filter((name) => name !== 'cqlsh')) {
      it(`${driver}, ${door}: connects, and is denied in the words of the page`, async (t) => {
        const running = await startedAt(t, driver, door)
        if (running === undefined) return
        // By NGINX they run on, until their certificates are over.
        if (door === 'nginx') renewing.push([driver, running])
        await running.says(/^total 250$/, startMsMax)
        assert.match(running.lines.find((line) => line.startsWith('denied:')) ?? '', denial)
        if (door !== 'nginx') running.stop()
      })
    }
    it(`cqlsh, ${door}: shows what it may and says what it may not`, async (t) => {
      const running = await startedAt(t, 'cqlsh', door)
      if (running === undefined) return
      await running.ended
      const said = running.lines.join('\n')
      assert.match(said, /code=2100 \[Unauthorized\]/)
      assert.match(said, denial)
      assert.match(said, /refused with 2/)
      assert.match(said, /^\s*250$/m)
    })
  }

  it('goes on with the next certificate where its folder has one, and not where it has none', async (t) => {
    assert.ok(unrenewed !== undefined)
    for (const [, { certificates }] of renewing) await writeCertificate(certificates, secondCertificateMs)
    const ends = [unrenewed, ...renewing.map(([, running]) => running)].map(({ firstEndsMs }) => firstEndsMs)
    await sleep(Math.max(...ends) + goneMs - Date.now())
    for (const [driver, running] of renewing) {
      await running.says(/^total 250$/, againMsMax)
      const failed = running.lines.filter((line) => line.startsWith('failed:')).length
      t.diagnostic(`${driver}: ${failed} requests failed`)
    }
    await assert.rejects(unrenewed.says(/^total 250$/, goneMs), /said nothing like/)
  })
})

interface Running {
  readonly lines: readonly string[]
  readonly certificates: string
  /** When the certificate that it was started with is over. */
  readonly firstEndsMs: number
  readonly ended: Promise<void>
  stop(): void
  /** Resolves with the next such line from now on. */
  says(wanted: RegExp, msMax: number): Promise<void>
}

/** Undefined where its toolchain is absent, which skips the test. */
async function startedAt(t: TestContext, driver: DriverName, door: DoorName): Promise<Running | undefined> {
  const program = programs.get(driver)!
  if ('absent' in program) {
    if (process.env.CI === 'true') throw new Error(`${program.absent}, and CI=true requires every driver`)
    t.skip(program.absent)
    return undefined
  }
  const own = mkdtempSync(join(folder, `${driver}-`))
  cpSync(join(folder, driver), own, { recursive: true, verbatimSymlinks: true })
  const certificates = join(own, 'certificates')
  mkdirSync(certificates)
  const ttlMs = Math.max(firstCertificateMsMin, togetherUntilMs - Date.now())
  const firstEndsMs = await writeCertificate(certificates, ttlMs)
  const { host, port } = mesh.doors[door]
  const child = spawn(program.command, program.args, {
    cwd: own,
    env: {
      ...process.env,
      ...program.env,
      CASSANDRA_HOST: host,
      CASSANDRA_PORT: String(port),
      RINGFENCE_CERTS: certificates,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => lines.push(line))
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const says = async (wanted: RegExp, msMax: number): Promise<void> => {
    const from = lines.length
    const until = performance.now() + msMax
    while (!lines.slice(from).some((line) => wanted.test(line))) {
      if (performance.now() > until)
        throw new Error(`it said nothing like ${wanted}; its last lines:\n${lines.slice(-20).join('\n')}`)
      await sleep(100)
    }
  }
  return { lines, certificates, firstEndsMs, ended, says, stop: () => child.kill('SIGKILL') }
}

/** The three files as the agent writes them; when the certificate ends. */
async function writeCertificate(dir: string, ttlMs: number): Promise<number> {
  const minted = await new AdminClient(mesh.layout.dirs.control).mint({ spiffeId: shop, ttlMs })
  writeFileSync(join(dir, 'key.pem'), minted.keyPem, { mode: 0o600 })
  writeFileSync(join(dir, 'svid.pem'), minted.certificatePem)
  writeFileSync(join(dir, 'bundle.pem'), minted.bundlePem)
  return new X509Certificate(minted.certificatePem).validToDate.getTime()
}

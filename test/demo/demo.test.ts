/**
 * `npm start` as it is, on one node, for half a minute: each kind of caller is in the live table and in the record, by what proved it, with what it may
 * and what is refused; nothing that was permitted is lost; and no secret is written anywhere.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { spiffeIds } from '../../demo/parts/layout.ts'
import type { Failures } from '../../demo/workloads/failures.ts'
import type { TrafficLine } from '../../src/control/traffic.ts'

const program = join(import.meta.dirname, '..', '..', 'demo', 'main.ts')
const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-demo-'))
/** No port of it is one of the mesh of the end-to-end suites (test/e2e/held.ts), which may be there. */
const portOffset = 16_000 + (process.pid % 90)
const startMsMax = 8 * 60_000

interface Told {
  readonly kind: 'ready' | 'traffic'
  readonly lines?: readonly TrafficLine[]
  readonly down?: readonly string[]
  readonly failures?: readonly Failures[]
  readonly addresses?: readonly { what: string; where: string }[]
}

interface Recorded {
  readonly workload?: string
  readonly person?: string
  readonly authentication?: string
  readonly gateway?: string
  readonly proxy?: string
  readonly transaction?: string
  readonly verdict?: string
  readonly rule?: string
  readonly error?: { message: string }
}

interface Caller {
  readonly name: string
  readonly workload: string
  readonly person?: string
  readonly authentication: string
  readonly permittedBy: string
  /** Undefined for who tries nothing else. */
  readonly refusedBy?: string
}

const shop = { workload: spiffeIds.service('shop'), authentication: 'certificate+txn-token' }
const callers: readonly Caller[] = [
  {
    name: 'a service by its certificate',
    workload: spiffeIds.service('orders'),
    authentication: 'certificate',
    permittedBy: 'orders-service',
  },
  {
    name: 'a person by OpenID Connect',
    workload: spiffeIds.person('corp', 'alice'),
    person: 'corp/alice',
    authentication: 'oidc',
    permittedBy: 'analysts',
    refusedBy: 'cards-stay-hidden',
  },
  {
    name: 'another person, who may less',
    workload: spiffeIds.person('corp', 'bob'),
    person: 'corp/bob',
    authentication: 'oidc',
    permittedBy: 'interns-see-products',
    refusedBy: 'default-deny',
  },
  {
    name: 'a cloud job by its AWS token',
    workload: 'spiffe://demo.local/aws/123456789012/role/forecast',
    authentication: 'aws',
    permittedBy: 'analysts',
    refusedBy: 'cards-stay-hidden',
  },
  {
    name: 'a web application on behalf of who may more than it',
    ...shop,
    person: 'corp/alice',
    permittedBy: 'analysts,shop-pages',
    refusedBy: 'default-deny',
  },
  {
    name: 'the same on behalf of who may less than it',
    ...shop,
    person: 'corp/bob',
    permittedBy: 'interns-see-products,shop-pages',
    refusedBy: 'default-deny',
  },
  {
    name: 'the pair, which may what neither may alone',
    ...shop,
    person: 'corp/bob',
    permittedBy: 'shop-pages,interns-at-the-shop',
  },
]

let told: Told[] = []
let records: Recorded[] = []
let exit: { code: number | null; errors: string }

before(
  async () => {
    const args = ['--nodes', '1', '--state-dir', stateDir, '--port-offset', String(portOffset)]
    const child = spawn(process.execPath, [program, ...args, '--duration', '30s', '-o', 'json'])
    let [out, errors] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk
    })
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
    exit = { code, errors }
    const lines = out.split('\n').filter((line) => line.startsWith('{'))
    told = lines.map((line) => JSON.parse(line) as Told)
    records = filesOf('sidecar/*/audit/*.jsonl').flatMap((file) =>
      readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Recorded),
    )
  },
  { timeout: startMsMax },
)
after(() => rmSync(stateDir, { recursive: true, force: true }))

function filesOf(pattern: string): string[] {
  return globSync(pattern, { cwd: stateDir }).map((file) => join(stateDir, file))
}

describe('npm start', () => {
  it('ends by itself with exit 0, and lost nothing', () => {
    assert.equal(exit.code, 0, exit.errors)
    const last = told.findLast(({ kind }) => kind === 'traffic')
    assert.deepEqual(last?.down, [])
    const { failures = [] } = last
    assert.deepEqual(
      failures.map(({ workload, failed, last: why }) => `${workload}: ${failed} ${why}`),
      ['orders', 'report', 'alice', 'bob', 'forecast', 'shop', 'browsers'].map((name) => `${name}: 0 `),
    )
  })

  for (const { name, workload, person, authentication, permittedBy, refusedBy } of callers) {
    it(`shows ${name}`, () => {
      const isWho = (one: { workload?: string; person?: string | undefined }): boolean =>
        one.workload === workload && one.person === person
      const lines = told.flatMap((each) => each.lines ?? []).filter(isWho)
      const own = records.filter(isWho)
      for (const [verdict, rule] of [
        ['allow', permittedBy],
        ['deny', refusedBy],
      ] as const) {
        if (rule === undefined) continue
        const is = (one: { verdict?: string; rule?: string }): boolean => one.verdict === verdict && one.rule === rule
        assert.ok(lines.some(is), `${verdict} by ${rule} is in the table`)
        const record = own.find(is)
        assert.ok(record !== undefined, `${verdict} by ${rule} is in the record`)
        assert.equal(record.authentication, authentication)
        assert.deepEqual([record.gateway, record.proxy], [spiffeIds.gateway, 'node1'])
        assert.equal(record.transaction !== undefined, authentication.endsWith('txn-token'))
      }
    })
  }

  it('says in the record who of two lacks it, each way', () => {
    const messages = records
      .filter(({ workload }) => workload === shop.workload)
      .map(({ error }) => error?.message ?? '')
    assert.ok(
      messages.some((words) => words.startsWith('corp/bob (through spiffe://demo.local/svc/shop) has no SELECT')),
    )
    assert.ok(messages.some((words) => words.startsWith('spiffe://demo.local/svc/shop has no SELECT permission on')))
  })

  it('writes no secret and no token', () => {
    const secrets = filesOf('providers/*.secret').map((file) => readFileSync(file, 'utf8').trim())
    assert.equal(secrets.length, 4)
    const written = filesOf('{log/*.log,nginx/*.log,sidecar/*/audit/*.jsonl}')
    assert.ok(written.length > 10)
    const texts: (readonly [string, string])[] = written.map((file) => [file, readFileSync(file, 'utf8')])
    for (const [file, text] of [...texts, ['standard output', JSON.stringify(told) + exit.errors] as const]) {
      for (const secret of secrets) assert.ok(!text.includes(secret), `a secret in ${file}`)
      assert.doesNotMatch(text, /eyJ[\w-]{10,}\.[\w-]{10,}\./, `a token in ${file}`)
    }
  })
})

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { makeKey } from '../mesh/credentials.ts'
import { type Mesh, overHttps, overSocket, withMesh } from './mesh.fixture.ts'
import type { Route } from './route.ts'
import { controlRoutes } from './routes.ts'

const sidecarId = 'spiffe://demo.local/ringfence/sidecar/n1'
const report = { policyRevision: 0, connections: 0, sessions: 0, upstreamConnections: 0, listeners: [], traffic: [] }

/** Who there is, by the way they come. */
const callers = ['socket', 'stranger', 'workload', 'sidecar'] as const
type Who = (typeof callers)[number]

const administrators: readonly Who[] = ['socket']
const members: readonly Who[] = ['workload', 'sidecar']

interface Expectation {
  readonly may: readonly Who[]
  /** A good request. */
  readonly body?: (mesh: Mesh) => Promise<unknown> | unknown
  /** Where it is allowed and refused for what it says. */
  readonly refused?: Partial<Record<Who, number>>
}

/** Every line of the table, and who may. A new line without one here fails. */
const expected: Record<string, Expectation> = {
  'POST /v1/enrol': {
    may: callers,
    body: async (mesh) => ({
      token: await mesh.token('spiffe://demo.local/svc/alice', 'workload'),
      csrPem: (await makeKey()).csrPem,
      name: 'alice',
      role: 'workload',
    }),
  },
  // It takes forms only; `token-exchange.test.ts` has what is good.
  'POST /v1/exchange': {
    may: callers,
    body: () => ({ grant_type: 'x' }),
    refused: { socket: 400, stranger: 400, workload: 400, sidecar: 400 },
  },
  // A minted certificate is of nobody who enrolled.
  'POST /v1/renew': {
    may: members,
    body: async () => ({ csrPem: (await makeKey()).csrPem }),
    refused: { workload: 403 },
  },
  // What it gives whom: transaction-tokens.test.ts.
  'POST /v1/transaction-tokens': {
    may: members,
    body: () => ({ token: 'none' }),
    refused: { workload: 403, sidecar: 403 },
  },
  'POST /v1/authorities': { may: members },
  // Whom it lets: presigned-uses.test.ts.
  'POST /v1/presigned-uses': {
    may: ['sidecar'],
    body: () => ({ principal: 'p', key: 'k'.repeat(43), address: '192.0.2.1', endMs: Date.now() + 60_000 }),
  },
  // Whom it lets: limit-shares.test.ts.
  'POST /v1/limit-shares': { may: ['sidecar'], body: () => ({ process: '0'.repeat(16), parts: [], debts: [] }) },
  // What it takes: src/audit/sealed/witness.test.ts and witness.test.ts.
  'POST /v1/witness': {
    may: ['sidecar'],
    body: () => ({ key: 'k', old: 0, proof: [], checkpoint: 'c' }),
  },
  // What it takes: collection.test.ts.
  'POST /v1/record': { may: ['sidecar'], body: () => ({ key: 'k', segment: '', bytes: 0, frames: '' }) },
  'GET /v1/witnessed': { may: administrators },
  // No such log: what it does, witness.test.ts.
  'POST /v1/witnessed/forget': { may: administrators, body: () => ({ origin: 'o' }), refused: { socket: 400 } },
  'POST /v1/report': { may: ['sidecar'], body: () => report },
  'GET /v1/watch': { may: ['sidecar'] },
  'POST /v1/tokens': { may: administrators, body: () => ({ spiffeId: 'spiffe://demo.local/svc/a', role: 'workload' }) },
  'POST /v1/x509': { may: administrators, body: () => ({ spiffeId: 'spiffe://demo.local/svc/a' }) },
  'GET /v1/issuances': { may: administrators },
  'GET /v1/bundle': { may: administrators },
  'GET /v1/ca': { may: administrators },
  'POST /v1/ca/prepare': { may: administrators, body: () => ({ kind: 'issuing' }) },
  // An issuing key is prepared by now.
  'POST /v1/ca/request': { may: administrators, body: () => ({}), refused: { socket: 400 } },
  'POST /v1/ca/import': { may: administrators, body: () => ({ certificatePem: 'x' }), refused: { socket: 400 } },
  'POST /v1/ca/forget-root-key': { may: administrators, body: () => ({ id: 'none' }), refused: { socket: 400 } },
  'POST /v1/ca/activate': { may: administrators, body: () => ({ kind: 'issuing' }) },
  'POST /v1/ca/taint': { may: administrators, body: () => ({ id: 'none' }), refused: { socket: 400 } },
  'POST /v1/ca/revoke': { may: administrators, body: () => ({ id: 'none' }), refused: { socket: 400 } },
  'GET /v1/policy': { may: administrators },
  'PUT /v1/policy': { may: administrators, body: () => ({ source: 'one', fileName: 'p.yaml' }) },
  'GET /v1/status': { may: administrators },
  'POST /v1/proxies/remove': { may: administrators, body: () => ({ name: 'none' }), refused: { socket: 400 } },
  'GET /v1/agents': { may: administrators },
  // What they do: agents.test.ts.
  'POST /v1/agents/suspend': {
    may: administrators,
    body: () => ({ agent: 'none', reason: 'a test' }),
    refused: { socket: 400 },
  },
  'POST /v1/agents/resume': { may: administrators, body: () => ({ agent: 'none' }), refused: { socket: 400 } },
  'POST /v1/agents/delete': { may: administrators, body: () => ({ agent: 'none' }), refused: { socket: 400 } },
  'POST /v1/revocations': {
    may: administrators,
    body: () => ({ kind: 'person', value: 'corp/alice', reason: 'a test' }),
  },
  'POST /v1/revocations/restore': { may: administrators, body: () => ({ id: 9 }), refused: { socket: 400 } },
  'GET /v1/revocations': { may: administrators },
  'GET /v1/traffic': { may: administrators },
  'GET /v1/refusals': { may: administrators, refused: { socket: 400 } },
}

describe('the route table', () => {
  it('is served alike over the socket and HTTPS, each line to those who may and to nobody else, with what it says', () => {
    let table: readonly Route[] = []
    const routes = (parts: Parameters<typeof controlRoutes>[0]): Route[] => {
      table = controlRoutes(parts)
      return []
    }
    return withMesh({ routes }, async (mesh) => {
      const workload = await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/bob' })
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const sidecar = agent.credentials.current
      const ask = (who: Who, { method, path }: Route, body: unknown) => {
        if (who === 'socket') return overSocket(mesh, method, path, body)
        const credentials = { stranger: undefined, workload, sidecar }[who]
        return overHttps(mesh, credentials, method, path, body)
      }
      assert.deepEqual(table.map(({ method, path }) => `${method} ${path}`).sort(), Object.keys(expected).sort())
      for (const route of table) {
        const name = `${route.method} ${route.path}`
        const { may, body, refused } = expected[name] ?? assert.fail(name)
        for (const who of callers) {
          const where = `${name} by ${who}`
          const answer = await ask(who, route, await body?.(mesh))
          if (!may.includes(who)) {
            assert.equal(answer.status, 403, where)
            assert.match(JSON.stringify(answer.body), /"code":"IDENTITY"/, where)
          } else if (refused?.[who] !== undefined) {
            assert.equal(answer.status, refused[who], where)
          } else if (route.output === undefined || answer.status === 204) {
            assert.ok(answer.status === 200 || name === 'POST /v1/report', where)
          } else {
            assert.equal(answer.status, 200, `${where}: ${JSON.stringify(answer.body)}`)
            assert.deepEqual(JSON.parse(JSON.stringify(route.output.parse(answer.body))), answer.body, where)
          }
          // Who may is decided before the body is read, and a body that does not fit is refused to who may.
          if (body === undefined || name === 'POST /v1/report') continue
          assert.equal((await ask(who, route, { x: 1 })).status, may.includes(who) ? 400 : 403, `${where}, a bad body`)
        }
      }
      for (const who of callers) {
        const { status } = await ask(who, { method: 'GET', path: '/v1/none' } as Route, undefined)
        // A stranger is told nothing of what there is.
        assert.equal(status, who === 'stranger' ? 403 : 404, who)
      }
    })
  })
})

describe('the control plane’s services', () => {
  it('know neither HTTP nor SQLite', () => {
    const root = import.meta.dirname
    const files = globSync('{services/*,callers,enrolment,registry,policy-revisions,publisher,route,routes,store}.ts', {
      cwd: root,
    })
    assert.ok(files.length >= 10, files.join())
    for (const file of files) {
      const source = readFileSync(join(root, file), 'utf8')
      const known = /from '(fastify|node:(http|https|tls|sqlite)|[^']*\/(http|sqlite-[a-z]+)\.ts)'/.exec(source)
      assert.equal(known?.[0], undefined, file)
    }
  })
})

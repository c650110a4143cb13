/** A gateway as the program starts it, with `http`: NGINX's question at one end, the control plane's transaction token at the other. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, it, describe as suite } from 'node:test'
import { eventually, withMesh } from '../../src/control/mesh.fixture.ts'
import { KeyRing } from '../../src/identity/jwt/keys.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { verifyTxnToken } from '../../src/identity/txn/token.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { freePort } from '../free-port.ts'
import { endPrograms, Program } from './program.ts'

const key = makeKey('idp')
const issuer = 'https://login.example.com'
const policy = `apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${issuer}", audiences: [shop-web], claims: { groups: groups } }
`
after(endPrograms)

function tokenOf(sub: string): string {
  const iat = Math.floor(Date.now() / 1000)
  return signed(key, { iss: issuer, aud: 'shop-web', sub, iat, exp: iat + 600, groups: ['staff'] })
}

/** What a system's list says of a process and of those that it started. */
function processesOf(pid: number): { readonly line: string; readonly environment: string }[] {
  const read = (id: string, file: string): string => {
    try {
      return readFileSync(`/proc/${id}/${file}`, 'latin1')
    } catch {
      return ''
    }
  }
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const parentOf = (id: string): number => Number(/\) \S (\d+)/.exec(read(id, 'stat'))?.[1])
  const ids = [String(pid)]
  for (const id of ids) ids.push(...all.filter((one) => parentOf(one) === Number(id)))
  return ids.map((id) => ({ line: read(id, 'cmdline'), environment: read(id, 'environ') }))
}

const isWorker = ({ line }: { readonly line: string }): boolean => line.includes('worker.ts')

suite('a gateway with http', () => {
  it('answers NGINX with a transaction token of the control plane, for the application that NGINX names', () =>
    withMesh({ fetchKeys: async () => [key.jwk] }, async (mesh) => {
      await mesh.admin.applyPolicy(policy, 'p.yaml', false)
      const [port, httpPort] = [await freePort(), await freePort()]
      const file = join(mesh.stateDir, 'gateway.yaml')
      writeFileSync(
        file,
        `apiVersion: ringfence.dev/v1alpha1
kind: Gateway
metadata: { name: g1 }
spec:
  control: { url: "${mesh.control.url}" }
  workers: 1
  listeners: [{ address: 127.0.0.1, port: ${port} }]
  advertise: [{ address: 127.0.0.1, port: ${port} }]
  http:
    address: 127.0.0.1
    port: ${httpPort}
    applications: [{ name: shop, workload: spiffe://demo.local/svc/web }]
`,
      )
      const joinToken = await mesh.token('spiffe://demo.local/ringfence/gateway/g1', 'gateway')
      const stateDir = join(mesh.stateDir, 'g1')
      const tokenFile = join(mesh.stateDir, 'join-token')
      writeFileSync(tokenFile, joinToken)
      const gateway = new Program(['gateway', '--config', file, '--state-dir', stateDir], {
        RINGFENCE_GATEWAY_TOKEN_FILE: tokenFile,
      })
      await gateway.says(/listening for HTTP/)
      const ask = (token: string, name = 'shop'): Promise<Response> =>
        fetch(`http://127.0.0.1:${httpPort}/authenticate`, {
          headers: {
            authorization: `Bearer ${token}`,
            'x-ringfence-application': name,
            'x-ringfence-client': '192.0.2.7',
          },
        })
      const answer = await eventually('a token', async () => {
        const one = await ask(tokenOf('alice'))
        return one.status === 204 && one
      })
      const ring = new KeyRing(mesh.control.value(pushedKinds.txnKeys).current)
      const made = await verifyTxnToken(answer.headers.get('txn-token') ?? '', ring, 'demo.local', Date.now())
      assert.deepEqual(
        [made.person, made.groups, made.workload],
        ['corp/alice', ['corp/staff'], 'spiffe://demo.local/svc/web'],
      )
      assert.equal((await ask(tokenOf('alice'), 'other')).status, 400)
      assert.equal((await ask(`${tokenOf('alice').slice(0, -4)}AAAA`)).status, 401)
      await eventually('who asks why hears of it', async () => {
        const [row] = (await mesh.admin.refusals('192.0.2.7')).refusals
        return row?.cause === 'signature' && row.listener === 'http of shop' && row.claimed === 'corp/alice'
      })
      const pid = gateway.child.pid ?? 0
      const processes = processesOf(pid)
      assert.ok(processes.some(isWorker))
      for (const { line, environment } of processes)
        for (const secret of [joinToken, tokenOf('alice').split('.')[0]!])
          assert.ok(!(line + environment).includes(secret))
      gateway.child.kill('SIGTERM')
      const { code, out, err } = await gateway.ended
      assert.equal(code, 0, err)
      assert.doesNotMatch(out + err, /eyJ[\w-]{20}/)
      assert.ok(!(out + err).includes(joinToken))
      // By the environment: its workers have none of it.
      const again = new Program(['gateway', '--config', file, '--state-dir', stateDir], {
        RINGFENCE_GATEWAY_TOKEN: 'canary-of-a-join-token',
      })
      await again.says(/listening for HTTP/)
      const workers = processesOf(again.child.pid ?? 0).filter(isWorker)
      assert.ok(workers.length > 0)
      for (const { environment } of workers) assert.ok(!environment.includes('canary-of-a-join-token'))
      again.child.kill('SIGTERM')
      await again.ended
    }))
})

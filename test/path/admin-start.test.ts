/** The admin port of a proxy as the program starts it: it is there while the control plane is waited for, drains the process, and is gone where the start fails. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { after, it, describe as suite } from 'node:test'
import { IdentityFile } from '../../src/agent/identity-file.ts'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { freePort } from '../free-port.ts'
import { endPrograms, Program } from './program.ts'

after(endPrograms)

const roles = ['sidecar', 'gateway'] as const
type Role = (typeof roles)[number]

/** Undefined while nobody listens there. */
function ask(socketPath: string, path: string, method = 'GET'): Promise<readonly [number, string] | undefined> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path, method, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve([response.statusCode ?? 0, text]))
    })
    asked.on('error', () => resolve(undefined))
    asked.end()
  })
}

/** A folder with its configuration. */
async function folderFor(mesh: Mesh, role: Role) {
  const stateDir = join(mesh.stateDir, role)
  mkdirSync(stateDir)
  const [port, nodePort] = [await freePort(), await freePort()]
  const admin = join(stateDir, 'admin.sock')
  const own =
    role === 'sidecar'
      ? `  upstream: { address: 127.0.0.1, port: ${nodePort} }\n  audit: { directory: audit }\n`
      : `  workers: 1\n  advertise: [{ address: 127.0.0.1, port: ${port} }]\n`
  const kind = role === 'sidecar' ? 'Sidecar' : 'Gateway'
  const file = join(mesh.stateDir, `${role}.yaml`)
  writeFileSync(
    file,
    `apiVersion: ringfence.dev/v1alpha1
kind: ${kind}
metadata: { name: ${role}1 }
spec:
  control: { url: "${mesh.control.url}" }
  admin: { listen: "unix:${admin}" }
  listeners: [{ address: 127.0.0.1, port: ${port} }]
${own}`,
  )
  return { role, stateDir, admin, args: [role, '--config', file, '--state-dir', stateDir] }
}

suite('the admin port of a proxy that starts', () => {
  it('says that it lives and waits for the control plane, then what the role says, and ends it', () =>
    withMesh({}, async (mesh) => {
      const started = await Promise.all(
        roles.map(async (role) => {
          const folder = await folderFor(mesh, role)
          const name = `ringfence/${role}/${role}1`
          const agent = await mesh.agent(`${role}1`, await mesh.token(`spiffe://demo.local/${name}`, role), { role })
          // It knows who it is, and was never told who is thrown out.
          new IdentityFile(folder.stateDir).write(agent.credentials.current)
          await agent.stop()
          return folder
        }),
      )
      await mesh.control.stop()
      const programs = started.map(({ args }) => new Program(args))
      for (const { role, admin } of started) {
        const live = await eventually(`${role} is alive`, () => ask(admin, '/livez'))
        assert.deepEqual(live, [200, 'ok\n'])
        assert.deepEqual(await ask(admin, '/readyz'), [503, 'not ready: waiting for the control plane\n'])
        assert.equal((await ask(admin, '/drain', 'POST'))?.[0], 404)
      }
      await mesh.restart()
      const reasons = {
        sidecar: /^not ready: no policy is in force\n|^not ready: the node is away\n/m,
        gateway: /^not ready: there is no link to a sidecar that takes requests\n/m,
      }
      for (const { role, admin } of started) {
        const [status] = await eventually(`${role} has its own reasons`, async () => {
          const answer = await ask(admin, '/readyz')
          return answer !== undefined && reasons[role].test(answer[1]) && answer
        })
        assert.equal(status, 503)
        const [, metrics] = (await ask(admin, '/metrics')) ?? []
        assert.match(metrics ?? '', /^ringfence_identity_cert_issued_timestamp_seconds \d/m)
        assert.deepEqual(await ask(admin, '/drain', 'POST'), [202, 'draining\n'])
      }
      for (const { ended } of programs) {
        const { code, out, err } = await ended
        assert.equal(code, 0, out + err)
      }
      for (const { admin } of started) assert.equal(await ask(admin, '/livez'), undefined)
    }))

  it('is gone where the start fails, and so is the process', () =>
    withMesh({}, async (mesh) => {
      for (const role of roles) {
        const { args, admin } = await folderFor(mesh, role)
        const { code, err } = await Program.run(args)
        assert.notEqual(code, 0)
        assert.match(err, /there is no identity yet, and no join token was given/)
        assert.ok(!existsSync(admin), role)
      }
    }))
})

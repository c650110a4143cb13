import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { cassandraYaml } from '../../demo/parts/cassandra.ts'
import { sidecarRole, sidecarRoleStatements } from '../../demo/parts/lock.ts'
import { Hosts } from './hosts.ts'
import { missingLines, stepsOf } from './page.ts'
import { page } from './rehearsal.ts'

const shims = join(import.meta.dirname, 'shims')

const block = (comment: string, language = 'sh', text = 'true'): string =>
  `${comment}\n\`\`\`${language}\n${text}\n\`\`\`\n`

describe('the blocks of docs/production.md', () => {
  const steps = stepsOf(readFileSync(page, 'utf8'))

  it('are all understood, and each belongs to a host', () => {
    assert.ok(steps.length > 40)
    assert.equal(steps.filter(({ kind }) => kind === 'applications').length, 4)
  })

  it('name the programs that no other page shows: control, agent and x509 mint', () => {
    const text = readFileSync(page, 'utf8')
    for (const verb of [
      'control',
      'agent',
      'sidecar',
      'gateway',
      'x509 mint',
      'token generate',
      'nginx config',
      'check',
    ])
      assert.match(text, new RegExp(`ringfence ${verb} `), verb)
  })

  it('restart each node once for each of four states', () => {
    const restarts = steps.filter((step) => step.kind === 'run' && step.text.includes('restart cassandra'))
    assert.deepEqual(
      restarts.map((step) => step.kind === 'run' && step.where),
      ['node 1', 'other nodes', 'each node', 'each node', 'each node'],
    )
  })

  it('give the role of the sidecars what the demonstration gives it, and no more', () => {
    const roles = steps.find((step) => step.kind === 'file' && step.path.endsWith('/roles.cql'))
    assert.ok(roles?.kind === 'file')
    const statements = roles.text.replaceAll(/--.*$/gm, '').split(';')
    const plain = (text: string): string => text.replaceAll("'", '').replaceAll(/\s+/g, ' ').trim()
    const own = statements.map(plain).filter((text) => new RegExp(`\\b(TO|ROLE|EXISTS) ${sidecarRole}\\b`).test(text))
    const identities = [1, 2, 3].map((n) => `spiffe://prod.example/ringfence/sidecar/main/datacenter1/node${n}`)
    assert.deepEqual(own, sidecarRoleStatements(identities).map(plain))
  })

  it('lock a node with the settings that the demonstration locks its nodes with', () => {
    const keys = steps.flatMap((step) => (step.kind === 'keys' ? [parse(step.text) as Record<string, unknown>] : []))
    assert.equal(keys.length, 2)
    const { rpc_address: listen, broadcast_rpc_address: told, ...page } = { ...keys[0], ...keys[1] }
    const tls = { nodePem: '/etc/cassandra/ringfence/node.pem', caPem: '/etc/cassandra/ringfence/bundle.pem' }
    const locked = cassandraYaml({
      index: 1,
      clusterName: 'x',
      addresses: { listen: '10.0.0.11', rpc: String(listen), broadcastRpc: String(told) },
      nativePort: 9042,
      storagePort: 7000,
      seeds: [],
      dataDir: '/x',
      heapMb: 1,
      access: 'locked',
      tls,
      auditLog: false,
      jvmFlags: [],
      features: { udf: false, mv: false, sasi: false },
      dataCenter: 'datacenter1',
      rack: 'rack1',
    })
    assert.deepEqual(page, Object.fromEntries(Object.keys(page).map((key) => [key, locked[key]])))
    for (const key of ['authenticator', 'authorizer', 'client_encryption_options', 'permissions_validity'])
      assert.ok(key in page, key)
  })

  it('make the users and folders that the files of the page need', (t) => {
    const root = mkdtempSync(join(tmpdir(), 'rf-page-'))
    t.after(() => rmSync(root, { recursive: true }))
    const hosts = new Hosts(root, 2, {})
    const all = [hosts.edge, ...hosts.nodes]
    for (const folder of ['etc/ringfence', 'etc/shop'])
      for (const host of all) rmSync(join(host.root, folder), { recursive: true })
    const makes = steps.filter((step) => step.kind === 'run' && /^(?:useradd|install) /m.test(step.text))
    for (const step of makes) {
      if (step.kind !== 'run') continue
      for (const turn of hosts.turns(step.where)) {
        const env = { PATH: `${shims}:${process.env.PATH}`, HOME: join(turn.host.root, 'home') }
        execFileSync('bash', ['-ec', hosts.translate(step.text, turn, step.where)], { env })
      }
    }
    // The wrong option, and a folder of a user whom nobody made.
    const env = { PATH: `${shims}:${process.env.PATH}`, HOME: join(hosts.edge.root, 'home') }
    for (const wrong of ['useradd --no-such-option x', `install -d -o nobody-made ${root}/x`])
      assert.throws(() => execFileSync('bash', ['-ec', wrong], { env, stdio: 'ignore' }), wrong)
    const users = readFileSync(join(hosts.edge.root, 'home', 'users'), 'utf8')
      .trim()
      .split('\n')
    assert.deepEqual(users, ['ringfence'])
    for (const step of steps) {
      if (step.kind !== 'file') continue
      for (const { host } of hosts.turns(step.where)) {
        const folder = dirname(hosts.path(step.path, host))
        if (/\/etc\/(?:ringfence|shop|cassandra\/ringfence)/.test(folder)) assert.ok(existsSync(folder), step.path)
      }
      for (const [, user = ''] of step.text.matchAll(/^User=(.*)$/gm))
        assert.ok([...users, 'cassandra', 'shop'].includes(user), `${step.path}: ${user}`)
    }
    for (const host of hosts.nodes) {
      assert.equal(statSync(join(host.root, 'etc/cassandra/ringfence')).mode & 0o777, 0o700)
      assert.ok(existsSync(join(host.root, 'var/lib/ringfence')))
    }
  })

  it('are refused where nothing says what they are, or in words that are not known', () => {
    for (const text of [
      block('no comment'),
      block('<!-- run: node 4 -->'),
      block('<!-- run: edge, ends with none -->'),
      block('<!-- file: edge -->'),
      block('<!-- shows -->', 'text'),
      '<!-- run: edge -->\n```sh\ntrue\n',
    ]) {
      assert.throws(() => stepsOf(text), /line \d+/, text)
    }
  })

  it('may be a drawing without a comment', () => assert.deepEqual(stepsOf(block('', 'text')), []))

  it('have the exit code, the place and the lines to show that the comments give', () => {
    const text = block('<!-- run: edge, for each node, ends with 1 -->') + block('<!-- shows -->', 'text', 'a … b\n')
    assert.deepEqual(stepsOf(text), [
      { kind: 'run', line: 2, where: 'edge each', text: 'true\n', exitCode: 1, shows: ['a … b'] },
    ])
  })
})

describe('what a block shows', () => {
  it('is in one printed line, in order, whatever stands at … and however wide the gaps are', () => {
    assert.deepEqual(missingLines('x\nnode1  sidecar   synced 1\n', ['node1 … synced', '…sidecar…']), [])
    assert.deepEqual(missingLines('node1\nsynced', ['node1 … synced']), ['node1 … synced'])
    assert.deepEqual(missingLines('synced node1', ['node1 … synced']), ['node1 … synced'])
  })
})

import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { systemClock } from '../base/clock.ts'
import { CertificateAuthority } from '../control/ca.ts'
import { eventually } from '../control/mesh.fixture.ts'
import { certificatesOf } from '../identity/chain.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type Credentials, credentialsOf, credentialsVersion } from '../mesh/credentials.ts'
import { Observed } from '../mesh/observable.ts'
import {
  CertificateFiles,
  type FolderOptions,
  filesInFolder,
  keyStoreText,
  tellByCommand,
} from './certificate-files.ts'

interface FilesOptions extends Partial<FolderOptions> {
  readonly command?: string
  readonly commandMsMax?: number
}

describe('the files of a certificate', () => {
  let folder: string
  let dir: string
  let ca: CertificateAuthority
  let said: string[]
  let first: Credentials

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-files-'))
    ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))
  beforeEach(async () => {
    dir = mkdtempSync(join(folder, 'out-'))
    said = []
    first = await fresh()
  })

  async function fresh(): Promise<Credentials> {
    const { keyPem, certificatePem } = await ca.mint({
      spiffeId: parseSpiffeId('spiffe://demo.local/web/edge1'),
      ttlMs: 60_000,
    })
    return credentialsOf(certificatePem, keyPem, ca.bundlePem)
  }

  function filesOf(more: FilesOptions): CertificateFiles {
    const log = pino({ level: 'info' }, { write: (line) => said.push(line) })
    const { combined = true, pemBundle, command, commandMsMax } = more
    return new CertificateFiles({
      files: filesInFolder({ dir, combined, pemBundle }),
      tell: command === undefined ? undefined : tellByCommand(command, log, commandMsMax),
      log,
    })
  }

  /** Follows for the length of `test`. */
  async function following(
    more: FilesOptions,
    test: (credentials: Observed<Credentials>) => Promise<void>,
  ): Promise<void> {
    const files = filesOf(more)
    const credentials = new Observed(first, credentialsVersion)
    files.follow(credentials)
    try {
      await test(credentials)
    } finally {
      await files.stop()
    }
  }

  const contents = (name: string): string => readFileSync(join(dir, name), 'utf8')
  const counted = (): number => (existsSync(join(dir, 'count')) ? contents('count').length : 0)

  it('have a chain in the file for Cassandra of which each is signed by the next, also while two roots are trusted', async () => {
    const two = await CertificateAuthority.open(join(folder, 'two'), 'demo.local', systemClock)
    const made = async (): Promise<Credentials> => {
      const { keyPem, certificatePem } = await two.mint({
        spiffeId: parseSpiffeId('spiffe://demo.local/cassandra/n1'),
        ttlMs: 60_000,
      })
      return credentialsOf(certificatePem, keyPem, two.bundlePem)
    }
    await two.keys.prepare('root')
    const prepared = await made()
    await two.keys.activate('root')
    for (const credentials of [prepared, await made()]) {
      assert.equal(certificatesOf(credentials.bundlePem).length, 2)
      const text = keyStoreText(credentials)
      assert.ok(text.startsWith(credentials.keyPem + credentials.certificatePem))
      const chain = certificatesOf(text)
      assert.equal(chain.length, 3)
      for (const [i, one] of chain.entries()) {
        const next = chain[i + 1] ?? one
        assert.ok(one.checkIssued(next) && one.verify(next.publicKey), `${i}`)
      }
    }
  })

  it('are what is in force, with keys for their owner only', async () => {
    const pemBundle = join(dir, 'one.pem')
    await filesOf({ pemBundle }).put(first)
    const { keyPem, certificatePem, bundlePem } = first
    const expected = new Map([
      ['key.pem', keyPem],
      ['svid.pem', certificatePem],
      ['bundle.pem', bundlePem],
      ['combined.pem', keyPem + certificatePem],
      ['one.pem', keyPem + certificatePem + bundlePem],
    ])
    assert.deepEqual(readdirSync(dir).sort(), [...expected.keys()].sort())
    for (const [name, text] of expected) {
      assert.equal(contents(name), text, name)
      const isSecret = text.includes('PRIVATE KEY')
      assert.equal(statSync(join(dir, name)).mode & 0o777, isSecret ? 0o600 : 0o644, name)
    }
  })

  it('keep their mode where somebody has opened them to all, and no more is written than was asked for', async () => {
    const files = filesOf({ combined: false })
    await files.put(first)
    chmodSync(join(dir, 'key.pem'), 0o644)
    await files.put(await fresh())
    assert.equal(statSync(join(dir, 'key.pem')).mode & 0o777, 0o600)
    assert.deepEqual(readdirSync(dir).sort(), ['bundle.pem', 'key.pem', 'svid.pem'])
  })

  it('are never found half written, nor key and certificate in one that do not fit', async () => {
    const pemBundle = join(dir, 'one.pem')
    const generations = await Promise.all(Array.from({ length: 12 }, fresh))
    const texts = new Set(
      [first, ...generations].flatMap(({ keyPem, certificatePem, bundlePem }) => [
        keyPem,
        certificatePem,
        bundlePem,
        keyPem + certificatePem,
        keyPem + certificatePem + bundlePem,
      ]),
    )
    const files = filesOf({ pemBundle })
    await files.put(first)
    let done = false
    let reads = 0
    const reading = (async () => {
      while (!done) {
        for (const name of readdirSync(dir)) {
          if (name.endsWith('.new')) continue
          assert.ok(texts.has(contents(name)), `${name} is whole`)
          reads++
        }
        await sleep(0)
      }
    })()
    for (const one of generations) await files.put(one)
    done = true
    await reading
    assert.ok(reads > 20, `${reads} reads`)
    assert.equal(contents('combined.pem'), generations.at(-1)!.keyPem + generations.at(-1)!.certificatePem)
  })

  it('have the command run at the start and once for each change, with the files of that change', async () => {
    const command = `printf x >> '${dir}/count'; cp '${dir}/combined.pem' '${dir}/seen'`
    await following({ command }, async (credentials) => {
      await eventually('the first run', () => counted() === 1)
      for (const runs of [2, 3, 4]) {
        const next = await fresh()
        credentials.set(next)
        await eventually(
          `run ${runs}`,
          () => counted() === runs && contents('seen') === next.keyPem + next.certificatePem,
        )
      }
      // Nothing changed, so nothing is run.
      credentials.set(credentials.current)
      await sleep(300)
      assert.equal(counted(), 4)
    })
  })

  for (const [what, fails] of [
    ['ends with a fault', 'exit 7'],
    ['does not exist', '/no/such/program'],
    ['is ended by a signal', 'kill -9 $$'],
    ['never ends', 'sleep 600'],
  ] as const) {
    it(`a command that ${what} is told and tried again, and a later certificate is written all the same`, async () => {
      const command = `if [ -e '${dir}/good' ]; then printf x >> '${dir}/count'; else ${fails}; fi`
      await following({ command, commandMsMax: 500 }, async (credentials) => {
        await eventually('it is told', () => said.some((line) => line.includes('the command failed; trying again')))
        const next = await fresh()
        credentials.set(next)
        await eventually('the next is written', () => contents('combined.pem') === next.keyPem + next.certificatePem)
        writeFileSync(join(dir, 'good'), '')
        await eventually('it is run again', () => counted() === 1)
        await sleep(300)
        assert.equal(counted(), 1, 'and not again')
      })
    })
  }

  it('that cannot be written are told and tried again, and leave no key behind', async () => {
    // A folder in the place of a file: nobody can rename over it, root neither.
    mkdirSync(join(dir, 'combined.pem'))
    mkdirSync(join(dir, 'combined.pem', 'in the way'))
    const command = `printf x >> '${dir}/count'`
    await following({ command }, async (credentials) => {
      await eventually('it is told', () => said.some((line) => /combined\.pem cannot be written/.test(line)))
      assert.equal(counted(), 0, 'no command is run for what was not written')
      const next = await fresh()
      credentials.set(next)
      await eventually('the next is tried', () => contents('key.pem') === next.keyPem)
      rmSync(join(dir, 'combined.pem'), { recursive: true })
      await eventually('it is written', () => existsSync(join(dir, 'combined.pem')) && counted() === 1)
      assert.equal(contents('combined.pem'), next.keyPem + next.certificatePem)
    })
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.endsWith('.new')),
      [],
    )
    assert.equal(said.filter((line) => line.includes('PRIVATE KEY')).length, 0)
  })

  it('a command that never ends is ended with all that it started', async () => {
    const files = filesOf({ command: `sleep 600 & echo $! > '${dir}/pid'; wait`, commandMsMax: 500 })
    await assert.rejects(files.put(first), /the command took longer than 0.5s and was ended/)
    const child = Number(contents('pid'))
    await eventually('the child has ended', () => !existsSync(`/proc/${child}`) || isZombie(child))
  })
})

/** Nobody may have waited for it. */
function isZombie(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}

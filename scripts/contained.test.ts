import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { bareCallbacks, unstackedFaults } from './contained.ts'

const root = join(import.meta.dirname, '..')

/**
 * How many callbacks a file hands over bare. They run before there is anybody to serve, belong to a promise that somebody awaits, or only
 * end what they are for. None is added without such a reason.
 */
const known: Readonly<Record<string, number>> = {
  'src/agent/client.ts': 7,
  'src/agent/worker-feed.ts': 1,
  'src/agent/workers.ts': 2,
  'src/gateway/link.ts': 3,
  'src/gateway/worker.ts': 3,
  'src/identity/passport.ts': 1,
  'src/identity/proofs/presigned.ts': 1,
  'src/identity/proofs/registry.ts': 1,
  'src/identity/proofs/token.ts': 1,
  'src/identity/providers/in-force.ts': 2,
  'src/mesh/socket-file.ts': 2,
  'src/policy/compiler-thread.ts': 1,
  'src/policy/compiler.ts': 1,
  'src/session/connection.ts': 1,
  'src/session/doors.ts': 2,
  'src/session/free-ports.ts': 1,
  'src/session/listener.ts': 4,
  'src/session/log-in.ts': 1,
  'src/session/loop-share.ts': 1,
  'src/session/proxied.ts': 2,
  'src/session/turn.ts': 1,
  'src/sidecar/analyst-thread.ts': 1,
  'src/sidecar/analyst.ts': 1,
  'src/sidecar/catalog/tables.ts': 2,
  'src/sidecar/large-batch.ts': 1,
  'src/sidecar/links.ts': 1,
  'src/sidecar/pool.ts': 1,
  'src/sidecar/schema/watch.ts': 3,
  'src/sidecar/upstream.ts': 2,
}

describe('callbacks of the event loop', () => {
  it('are contained in src, but for those that are known', () => {
    const files = globSync('src/**/*.ts', { cwd: root }).filter(
      // The command line serves nobody: what fails there ends it, with words.
      (file) => !/\.(test|fixture|fuzz)\.ts$/.test(file) && !file.startsWith('src/cli/'),
    )
    for (const file of files.sort()) {
      const bare = bareCallbacks(readFileSync(join(root, file), 'utf8'))
      if (file === 'src/base/contained.ts') continue
      assert.equal(
        bare.length,
        known[file] ?? 0,
        `${file} has ${bare.length}, not ${known[file] ?? 0}; see src/base/contained.ts\n${bare.join('\n')}`,
      )
    }
  })

  it('are found in each of their forms', () => {
    for (const bare of [
      'setTimeout(() => this.go(), 5)',
      'this.timer = setInterval(this.go, 5)',
      'setImmediate(() => go())',
      'queueMicrotask(() => this.go())',
      `socket.on('data', (chunk) => this.go(chunk))`,
      'socket.on(event, (chunk) => this.go(chunk))',
      'setTimeout(go, 5)',
      `raw.once('close', () => this.go())`,
      'asked.then((value) => this.go(value))',
      'asked.catch((reason) => this.go(reason))',
      'asked.finally(() => this.go())',
      'void this.#go()',
    ])
      assert.deepEqual(bareCallbacks(bare), [`1: ${bare}`])
  })

  it('are none where they are contained, can do no harm, or are words of a comment', () => {
    for (const fine of [
      `after(this, 'a timer', 5, () => this.go())`,
      `socket.on('data', contained(this, 'data', (chunk) => this.go(chunk)))`,
      `server.on('data', (socket: Socket) =>\n  contain(endsSocket(socket), 'data', () => this.go(socket)))`,
      'this.#socket.on(event, contained(this, place, heard))',
      `settle(this, 'an answer', asked, (value) => this.go(value))`,
      'await new Promise((resolve) => setTimeout(resolve, 20))',
      `socket.once('secureConnect', resolve)`,
      'asked.catch(() => {})',
      '// setTimeout(() => this.go(), 5)',
      '/** setTimeout(() => this.go(), 5) */',
      'clearTimeout(timer)',
    ])
      assert.deepEqual(bareCallbacks(fine), [])
  })
})

describe('what is caught and said in words', () => {
  it('is counted and has its stack where it is a fault of ours', () => {
    // The command line, and a person's tools, say what failed to whoever runs them.
    const files = globSync('src/**/*.ts', { cwd: root }).filter(
      (file) => !/\.(test|fixture|fuzz)\.ts$/.test(file) && !/^src\/(?:cli|people)\//.test(file),
    )
    assert.deepEqual(
      files.flatMap((file) => unstackedFaults(readFileSync(join(root, file), 'utf8')).map((at) => `${file}:${at}`)),
      [],
    )
  })

  it('is found where it is not', () => {
    const said = "log.warn({ reason: String(reason) }, 'the node is away')"
    for (const [source, count] of [
      [`try { go() } catch (reason) { ${said} }`, 1],
      [`asked.catch((reason: unknown) => { this.#${said} })`, 1],
      [`refuse(reason: unknown): void { ${said} }`, 1],
      [`try { go() } catch (reason) { containOwnFault('a place', reason); ${said} }`, 0],
      ["try { go() } catch (reason) { log.error({ err: reason }, 'failed') }", 0],
      [`try { go() } catch (reason) { ${said}; throw reason }`, 0],
      ['try { go() } catch (reason) { this.close(reason) }', 0],
    ] as const)
      assert.equal(unstackedFaults(source).length, count, source)
  })
})

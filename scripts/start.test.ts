/** A role that stays in memory starts without what strips the types; `bin/command.mjs` says how. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

interface Command {
  readonly file: string
  readonly args: string[]
  readonly env: NodeJS.ProcessEnv
}

const program = join(import.meta.dirname, '..', 'bin', 'command.mjs')
const tell = `data:text/javascript,process.on('exit',()=>console.log(process.moduleLoadList.some((name)=>name.includes('amaro'))))`

describe('starting a sidecar', () => {
  let folder: string
  let commandOf: (args: readonly string[]) => Command
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringfence-start-'))
    ;({ commandOf } = (await import(program)) as { commandOf: typeof commandOf })
  })
  after(() => rmSync(folder, { recursive: true }))

  /** Whether it loaded the stripper on its way to finding that there is no configuration. */
  function strips(caches: string): boolean {
    const { XDG_CACHE_HOME: kept, NODE_COMPILE_CACHE: ofRun } = process.env
    process.env.XDG_CACHE_HOME = caches
    delete process.env.NODE_COMPILE_CACHE
    try {
      const { file, args, env } = commandOf(['sidecar', '--config', join(folder, 'none.yaml')])
      const ran = spawnSync(file, ['--import', tell, ...args], { env, encoding: 'utf8' })
      assert.match(ran.stderr, /cannot read/)
      return ran.stdout.trim() === 'true'
    } finally {
      if (kept === undefined) delete process.env.XDG_CACHE_HOME
      else process.env.XDG_CACHE_HOME = kept
      if (ofRun !== undefined) process.env.NODE_COMPILE_CACHE = ofRun
    }
  }

  it('loads no type stripper, the first time too', () => {
    const caches = join(folder, 'caches')
    assert.equal(strips(caches), false)
    assert.equal(strips(caches), false)
    const stamps = readdirSync(join(caches, 'ringfence', 'code')).filter((name) => name.startsWith('filled-'))
    assert.equal(stamps.length, 1)
  })

  it('works where nothing can be kept, with the stripper', () => {
    const noFolder = join(folder, 'a-file')
    writeFileSync(noFolder, '')
    assert.equal(strips(noFolder), true)
  })
})

/** The reader's applications: one in Node.js, one in Python. They move as an operator would move them: a new instance runs before the old one stops. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { toolchainOf } from '../e2e/drivers/toolchain.ts'
import type { Hosts } from './hosts.ts'

/** Where applications come in: the nodes themselves by password, NGINX or the sidecars by certificate. */
export type Way = 'password' | 'nginx' | 'sidecars'

interface Instance {
  readonly driver: string
  readonly child: ChildProcess
  readonly stopped: Promise<void>
  answered: number
  failed: number
  errors: readonly string[]
}

/** What one driver's application had, of all its instances. */
export interface Total {
  readonly driver: string
  readonly answered: number
  readonly failed: number
  /** The first failures of each instance, in the driver's words. */
  readonly errors: readonly string[]
}

const startTimeoutMs = 90_000

export class Applications {
  readonly #hosts: Hosts
  readonly #ended: Total[] = []
  #running: Instance[] = []

  constructor(hosts: Hosts) {
    this.#hosts = hosts
  }

  /** Resolves when both drivers have had answers by the new way and the old instances have stopped. */
  async move(way: Way): Promise<void> {
    const before = this.#running
    const python = await toolchainOf('python')
    if ('absent' in python) throw new Error(python.absent)
    this.#running = [
      this.#start('node', process.execPath, [join(import.meta.dirname, 'load.ts')], way),
      this.#start('python', python.program.command, [join(import.meta.dirname, 'load.py')], way),
    ]
    const deadline = performance.now() + startTimeoutMs
    while (this.#running.some(({ answered }) => answered < 20)) {
      const failed = this.#running.find(({ child }) => child.exitCode !== null)
      if (failed !== undefined || performance.now() > deadline)
        throw new Error(`the ${failed?.driver ?? ''} application does not come by ${way}`)
      await sleep(100)
    }
    await this.#end(before)
  }

  async close(): Promise<void> {
    await this.#end(this.#running)
    this.#running = []
  }

  /** Requests and failures of each driver until now. */
  get totals(): Total[] {
    const all = [...this.#ended, ...this.#running]
    return ['node', 'python'].map((driver) => {
      const own = all.filter((one) => one.driver === driver)
      return {
        driver,
        answered: own.reduce((sum, one) => sum + one.answered, 0),
        failed: own.reduce((sum, one) => sum + one.failed, 0),
        errors: own.flatMap(({ errors }) => errors),
      }
    })
  }

  #start(driver: string, command: string, args: string[], way: Way): Instance {
    const first = this.#hosts.nodes[0]!
    const folder = join(this.#hosts.edge.root, 'etc/shop/ringfence')
    const env: Record<string, string> =
      way === 'password'
        ? { RF_CONTACT: `${first.address}:9042`, RF_USER: 'shop', RF_PASSWORD: 'the password of shop' }
        : {
            RF_CONTACT: `${way === 'nginx' ? this.#hosts.edge.address : first.address}:9042`,
            RF_CA: join(folder, 'bundle.pem'),
            RF_CERT: join(folder, 'svid.pem'),
            RF_KEY: join(folder, 'key.pem'),
          }
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] })
    const stopped = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    const instance: Instance = { driver, child, stopped, answered: 0, failed: 0, errors: [] }
    createInterface({ input: child.stdout }).on('line', (line) => Object.assign(instance, JSON.parse(line) as object))
    return instance
  }

  async #end(instances: readonly Instance[]): Promise<void> {
    for (const { child } of instances) child.stdin?.end()
    for (const instance of instances) {
      const late = setTimeout(() => instance.child.kill('SIGKILL'), 40_000)
      await instance.stopped
      clearTimeout(late)
      this.#ended.push({
        driver: instance.driver,
        answered: instance.answered,
        failed: instance.failed,
        errors: instance.errors,
      })
    }
  }
}

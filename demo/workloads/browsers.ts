/**
 * Alice and Bob at the pages of the web application, each with a browser of their own, in which they log in at the company. Settings come from
 * the environment: DEMO_SITE, DEMO_STATE_DIR, DEMO_SECRET_ALICE and DEMO_SECRET_BOB (files with passwords).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { readSecret } from '../providers/secrets.ts'
import { setting, untilTold } from '../told.ts'
import { Browser } from './browser.ts'
import { FailureCount } from './failures.ts'

/** Of each the last is refused: the application may not read reports, and customers are not Bob's to see. */
const pages = { alice: ['/orders', '/products/7', '/reports'], bob: ['/orders', '/products/7', '/customers'] } as const
/** So long the web application may take to be there. */
const startMsMax = 60_000

const signal = untilTold()
const failures = new FailureCount(setting('DEMO_STATE_DIR'), 'browsers')

await Promise.all([
  visit('alice', readSecret(setting('DEMO_SECRET_ALICE')), 500),
  visit('bob', readSecret(setting('DEMO_SECRET_BOB')), 700),
])

async function visit(who: keyof typeof pages, password: string, pauseMs: number): Promise<void> {
  const browser = new Browser(who, password)
  await begin(browser)
  for (let at = 0; !signal.aborted; at++) {
    await look(browser, pages[who][at % pages[who].length]!)
    await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
  }
}

async function begin(browser: Browser): Promise<void> {
  const until = performance.now() + startMsMax
  while (!signal.aborted && performance.now() < until) {
    const page = await browser.open(`${setting('DEMO_SITE')}/`).catch(() => undefined)
    if (page?.status === 200) return
    await sleep(250, undefined, { signal }).catch(() => {})
  }
}

/** A page that policy refuses (403) is part of the show. */
async function look(browser: Browser, path: string): Promise<void> {
  try {
    const { status } = await browser.open(setting('DEMO_SITE') + path)
    if (status !== 200 && status !== 403 && !signal.aborted) failures.add(`${path}: status ${status}`)
  } catch (reason) {
    if (!signal.aborted) failures.add(`${path}: ${reason instanceof Error ? reason.message : String(reason)}`)
  }
}

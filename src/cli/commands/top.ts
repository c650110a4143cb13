/** `top`: who is talking to Cassandra, as a screen to sort, filter and look into. */
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { AdminClient } from '../admin-client.ts'
import { durationOption } from '../options.ts'
import { isColoured, print, printJson } from '../output.ts'
import { Screen } from '../screen.ts'
import { keysIn } from '../top/keys.ts'
import { linesOf, pressed, topStart } from '../top/state.ts'
import { type TopSeen, topPicture } from '../top/view.ts'
import { type AdminFlags, adminCommand } from './admin-command.ts'

const everyMs = 1_000

export function addTop(program: Command): void {
  adminCommand(program, 'top', 'who is talking to Cassandra, as a screen: sort, filter, look into one identity')
    .addOption(durationOption('--window <duration>', 'to add up over, at most 60s', '10s'))
    .action(async (flags: AdminFlags & { window: number }) => {
      const client = new AdminClient(flags.stateDir)
      const seconds = Math.min(60, Math.max(1, Math.round(flags.window / 1000)))
      const { stdin, stdout } = process
      // What is no terminal gets one picture.
      if (flags.output === 'json' || !stdout.isTTY || !stdin.isTTY) {
        const answer = await client.traffic(seconds)
        if (flags.output === 'json') printJson(answer)
        else print(topPicture(seenOf(answer), topStart, { columns: 160, lines: 50, color: false }).join('\n').trimEnd())
        return
      }
      await show(client, seconds)
    })
}

function seenOf({ seconds, lines }: Pick<TopSeen, 'seconds' | 'lines'>): TopSeen {
  return { seconds, lines, time: new Date().toTimeString().slice(0, 8) }
}

async function show(client: AdminClient, seconds: number): Promise<void> {
  const { stdin, stdout } = process
  const screen = new Screen(stdout)
  let state = topStart
  let seen = seenOf(await client.traffic(seconds))
  const draw = (): void => {
    const { columns, linesMax: lines } = screen
    screen.draw(topPicture(seen, state, { columns, lines, color: isColoured() }))
  }
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()
  const onKey = (text: string): void => {
    for (const key of keysIn(text)) state = pressed(state, key, linesOf(seen.lines, state))
    if (state.ended) end()
    else draw()
  }
  let asking = false
  const again = async (): Promise<void> => {
    if (asking) return
    asking = true
    try {
      seen = seenOf(await client.traffic(seconds))
    } catch (reason) {
      // The screen stays, and says so.
      seen = { ...seen, stale: RingfenceError.from(reason, 'UNAVAILABLE').message }
    }
    asking = false
    if (!state.ended) draw()
  }
  const timer = setInterval(() => void again(), everyMs)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8').on('data', onKey).resume()
  stdout.on('resize', draw)
  process.once('SIGTERM', end)
  draw()
  try {
    await ended
  } finally {
    clearInterval(timer)
    stdout.off('resize', draw)
    stdin.off('data', onKey).setRawMode(false).pause()
  }
}

"""LLVM IR of the native driver: the layout of the control block and the text of `run`, `worker` and `invite`.

`driver` describes programs, `walk_ir` has the text by which they are walked; `pool` describes the control block and the
protocol by which threads share a region.
"""

from __future__ import annotations

import re

from . import walk_ir

# Words of the control block; `pool` describes them. Words that different threads write lie at least 128 bytes
# (16 words) apart: neighbouring cache lines are fetched in pairs.
BUSY = 0
RUNNING = 8
PENDING = 16
THREADS, STOP, DISMISSED = 32, 33, 34
BACKOFF_UNTIL, BACKOFF_TICKS = 35, 36
BLOCK_TICKS, PATIENCE_TICKS, BACKOFF_MIN, BACKOFF_MAX = 48, 49, 50, 51
IDLE_TICKS, ACTIVE_TICKS, YIELD_TICKS, YIELD_FUNCTION, WORTH_TICKS = 52, 53, 54, 55, 56
# Addresses of functions of Python's: PyGILState_Ensure, PyErr_CheckSignals, PyErr_Clear, PyGILState_Release.
ENSURE_FUNCTION, CHECK_FUNCTION, CLEAR_FUNCTION, RELEASE_FUNCTION = 57, 58, 59, 60
SLOTS, SLOT_WORDS = 64, 32
# Words of a slot.
CLAIM, END, REGION, PROGRAM, AWAKE = 0, 1, 2, 3, 16

#: Counters: regions that were shared with workers, late joins. Only the thread that holds BUSY writes them.
SHARED_REGIONS, LATE_JOINS, LAST_USED = 37, 38, 39

_X86 = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse2.pause()
define internal i64 @enter() {
  %p = alloca i32
  %q = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  store i32 8064, ptr %q                          ; 0x1f80: the default, no exception flag set
  call void @llvm.x86.sse.ldmxcsr(ptr %q)
  %old = load i32, ptr %p
  %wide = zext i32 %old to i64
  ret i64 %wide
}
define internal void @leave(i64 %wide) {
  %p = alloca i32
  %old = trunc i64 %wide to i32
  store i32 %old, ptr %p
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
"""

_AARCH64 = """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
declare void @llvm.aarch64.isb(i32)
define internal i64 @enter() {
  %old = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 0)
  ret i64 %old
}
define internal void @leave(i64 %old) {
  call void @llvm.aarch64.set.fpcr(i64 %old)
  ret void
}
"""

# One instruction each, written in place: the driver is compiled without an inlining pass.
_PAUSE = {
    "x86_64": "call void @llvm.x86.sse2.pause()",
    "aarch64": "call void @llvm.aarch64.isb(i32 15)",  # `yield` does nothing on most cores; a barrier waits a little
}
# LLVM's cycle counter is the time-stamp counter on x86 and the generic timer's virtual count on AArch64.
_NOW = dict.fromkeys(_PAUSE, "call i64 @llvm.readcyclecounter()")

# Without a clock that user code can read: `pool` starts no workers and runs one step per block.
_OTHER = """
define internal i64 @enter() {
  ret i64 0
}
define internal void @leave(i64 %old) {
  ret void
}
"""

_COMMON = """
define i64 @ticks() {
  %t = {NOW}
  ret i64 %t
}

; Claim and run chunks until none is left: first of the own slot, then of the others. Gives how many it ran.
; A claim is one compare-and-swap on {epoch:32, remaining:32}; the other words of the slot are read only after it
; succeeded, because they cannot change before this chunk is reported as done.
define internal i64 @drain(ptr %control, i64 %index) {
entry:
  %slots = getelementptr i64, ptr %control, i64 {SLOTS}
  %threads.at = getelementptr i64, ptr %control, i64 {THREADS}
  %threads = load atomic i64, ptr %threads.at monotonic, align 8
  br label %slots.head
slots.head:
  %k = phi i64 [0, %entry], [%k.next, %slots.next]
  %done.0 = phi i64 [0, %entry], [%done.1, %slots.next]
  %k.more = icmp slt i64 %k, %threads
  br i1 %k.more, label %slots.body, label %exit
slots.body:
  %sum = add i64 %index, %k
  %over = icmp sge i64 %sum, %threads
  %wrapped = sub i64 %sum, %threads
  %victim = select i1 %over, i64 %wrapped, i64 %sum
  %slot = getelementptr [{SLOT_WORDS} x i64], ptr %slots, i64 %victim
  br label %claim
claim:
  %done.1 = phi i64 [%done.0, %slots.body], [%done.1, %try], [%done.2, %claimed]
  %seen = load atomic i64, ptr %slot acquire, align 8
  %remaining = and i64 %seen, 4294967295
  %any = icmp ne i64 %remaining, 0
  br i1 %any, label %try, label %slots.next
try:
  %less = sub i64 %seen, 1
  %pair = cmpxchg ptr %slot, i64 %seen, i64 %less acq_rel monotonic
  %won = extractvalue { i64, i1 } %pair, 1
  br i1 %won, label %claimed, label %claim
claimed:
  %end.at = getelementptr i64, ptr %slot, i64 {END}
  %end = load atomic i64, ptr %end.at monotonic, align 8
  %region.at = getelementptr i64, ptr %slot, i64 {REGION}
  %region = load atomic ptr, ptr %region.at monotonic, align 8
  %program.at = getelementptr i64, ptr %slot, i64 {PROGRAM}
  %program = load atomic ptr, ptr %program.at monotonic, align 8
  %chunk = sub i64 %end, %remaining
  call void @run_chunk(ptr %program, ptr %region, i64 %chunk)
  %done.2 = add i64 %done.1, 1
  br label %claim
slots.next:
  %k.next = add i64 %k, 1
  br label %slots.head
exit:
  ret i64 %done.0
}

; Whether a worker is in its native loop.
define internal i1 @any_awake(ptr %control, i64 %threads) {
entry:
  %slots = getelementptr i64, ptr %control, i64 {SLOTS}
  br label %head
head:
  %i = phi i64 [1, %entry], [%i.next, %body]
  %more = icmp slt i64 %i, %threads
  br i1 %more, label %body, label %none
body:
  %slot = getelementptr [{SLOT_WORDS} x i64], ptr %slots, i64 %i
  %awake.at = getelementptr i64, ptr %slot, i64 {AWAKE}
  %awake = load atomic i64, ptr %awake.at monotonic, align 8
  %i.next = add i64 %i, 1
  %yes = icmp ne i64 %awake, 0
  br i1 %yes, label %some, label %head
some:
  ret i1 true
none:
  ret i1 false
}

define internal void @yield(ptr %control) {
entry:
  %at = getelementptr i64, ptr %control, i64 {YIELD_FUNCTION}
  %fn = load ptr, ptr %at
  %none = icmp eq ptr %fn, null
  br i1 %none, label %exit, label %do
do:
  %ignored = call i32 %fn()
  br label %exit
exit:
  ret void
}

; A region shared with the workers: those that are awake and, if it takes a tenth of the time that makes a run worth
; waking them (or was never shared), those that may wake in the meantime. The caller holds BUSY.
define internal void @run_parallel(ptr %control, ptr %program, ptr %region, i64 %threads) {
entry:
  %slots = getelementptr i64, ptr %control, i64 {SLOTS}
  %total.at = getelementptr i64, ptr %region, i64 2
  %total = load i64, ptr %total.at
  %until.at = getelementptr i64, ptr %control, i64 {BACKOFF_UNTIL}
  %until = load i64, ptr %until.at
  %start = {NOW}
  %left = sub i64 %until, %start
  %resting = icmp sgt i64 %left, 0
  br i1 %resting, label %alone, label %look
look:
  %awake = call i1 @any_awake(ptr %control, i64 %threads)
  br i1 %awake, label %publish, label %drowsy
drowsy:
  %known.at = getelementptr i64, ptr %region, i64 4
  %known = load i64, ptr %known.at
  %unknown = icmp eq i64 %known, 0
  %worth.at = getelementptr i64, ptr %control, i64 {WORTH_TICKS}
  %worth = load i64, ptr %worth.at
  %tenth = udiv i64 %worth, 10
  %long.region = icmp sgt i64 %known, %tenth
  %worthwhile = or i1 %unknown, %long.region
  br i1 %worthwhile, label %publish, label %alone
alone:
  call void @run_serial(ptr %program, ptr %region)
  ret void
publish:
  %pending.at = getelementptr i64, ptr %control, i64 {PENDING}
  store atomic i64 %total, ptr %pending.at monotonic, align 8
  br label %slots.head
slots.head:                                       ; slot i gets the chunks total*i/threads ... total*(i+1)/threads
  %i = phi i64 [0, %publish], [%i.next, %slots.body]
  %first = phi i64 [0, %publish], [%end, %slots.body]
  %i.more = icmp slt i64 %i, %threads
  br i1 %i.more, label %slots.body, label %work
slots.body:
  %i.next = add i64 %i, 1
  %scaled = mul i64 %total, %i.next
  %end = udiv i64 %scaled, %threads
  %count = sub i64 %end, %first
  %slot = getelementptr [{SLOT_WORDS} x i64], ptr %slots, i64 %i
  %end.at = getelementptr i64, ptr %slot, i64 {END}
  store atomic i64 %end, ptr %end.at monotonic, align 8
  %region.at = getelementptr i64, ptr %slot, i64 {REGION}
  store atomic ptr %region, ptr %region.at monotonic, align 8
  %program.at = getelementptr i64, ptr %slot, i64 {PROGRAM}
  store atomic ptr %program, ptr %program.at monotonic, align 8
  %old = load atomic i64, ptr %slot monotonic, align 8
  %old.epoch = and i64 %old, -4294967296
  %epoch = add i64 %old.epoch, 4294967296
  %claim = or i64 %epoch, %count
  store atomic i64 %claim, ptr %slot release, align 8
  br label %slots.head
work:
  %mine = call i64 @drain(ptr %control, i64 0)
  %finish = {NOW}
  %yield.at = getelementptr i64, ptr %control, i64 {YIELD_TICKS}
  %yield.ticks = load i64, ptr %yield.at
  br label %join
join:
  %polls = phi i64 [0, %work], [%polls.next, %wait], [0, %patient]
  %pending = load atomic i64, ptr %pending.at acquire, align 8
  %joined = icmp eq i64 %pending, %mine
  br i1 %joined, label %after, label %wait
wait:
  {PAUSE}
  %polls.next = add i64 %polls, 1
  %check = icmp sgt i64 %polls.next, 64
  br i1 %check, label %look.clock, label %join
look.clock:
  %clock = {NOW}
  %so.far = sub i64 %clock, %finish
  %long = icmp sgt i64 %so.far, %yield.ticks
  br i1 %long, label %give.way, label %patient
give.way:                                         ; the worker may be waiting for this very core
  call void @yield(ptr %control)
  br label %patient
patient:
  br label %join
after:
  ; Late, because a worker's core was taken away, if the wait exceeds the patience and the time of two average own
  ; chunks, and the region took half as long again as it does at best. (The best time ages by 1/64 per region.)
  %stop = {NOW}
  %helped = icmp ne i64 %mine, %total
  %one.more = zext i1 %helped to i64
  %shared.at = getelementptr i64, ptr %control, i64 {SHARED_REGIONS}
  %shared.0 = load i64, ptr %shared.at
  %shared.1 = add i64 %shared.0, %one.more
  store i64 %shared.1, ptr %shared.at
  %waited = sub i64 %stop, %finish
  %elapsed = sub i64 %stop, %start
  %best.at = getelementptr i64, ptr %region, i64 4
  %best = load i64, ptr %best.at
  %aging = lshr i64 %best, 6
  %aged = add i64 %best, %aging
  %better = icmp ult i64 %elapsed, %aged
  %first.time = icmp eq i64 %best, 0
  %replace = or i1 %better, %first.time
  %best.new = select i1 %replace, i64 %elapsed, i64 %aged
  store i64 %best.new, ptr %best.at
  %half = lshr i64 %best.new, 1
  %usual = add i64 %best.new, %half
  %slow = icmp sgt i64 %elapsed, %usual
  %patience.at = getelementptr i64, ptr %control, i64 {PATIENCE_TICKS}
  %patience = load i64, ptr %patience.at
  %worked = sub i64 %finish, %start
  %worked.2 = mul i64 %worked, 2
  %divisor = call i64 @llvm.smax.i64(i64 %mine, i64 1)
  %fair = sdiv i64 %worked.2, %divisor
  %allowed = add i64 %patience, %fair
  %impatient = icmp sgt i64 %waited, %allowed
  %late = and i1 %impatient, %slow
  %backoff.at = getelementptr i64, ptr %control, i64 {BACKOFF_TICKS}
  %backoff = load i64, ptr %backoff.at
  br i1 %late, label %retreat, label %calm
retreat:                                          ; go on alone for a while, twice as long as the last time
  %max.at = getelementptr i64, ptr %control, i64 {BACKOFF_MAX}
  %max = load i64, ptr %max.at
  %twice = mul i64 %backoff, 2
  %longer = call i64 @llvm.smin.i64(i64 %twice, i64 %max)
  store i64 %longer, ptr %backoff.at
  %again = add i64 %stop, %backoff
  store i64 %again, ptr %until.at
  %dismissed.at = getelementptr i64, ptr %control, i64 {DISMISSED}
  store atomic i64 1, ptr %dismissed.at monotonic, align 8
  %late.at = getelementptr i64, ptr %control, i64 {LATE_JOINS}
  %late.0 = load i64, ptr %late.at
  %late.1 = add i64 %late.0, 1
  store i64 %late.1, ptr %late.at
  ret void
calm:                                             ; undisturbed for 8 times the last pause: start small next time
  %quiet = sub i64 %stop, %until
  %enough = shl i64 %backoff, 3
  %forgive = icmp sgt i64 %quiet, %enough
  br i1 %forgive, label %reset, label %exit
reset:
  %min.at = getelementptr i64, ptr %control, i64 {BACKOFF_MIN}
  %min = load i64, ptr %min.at
  store i64 %min, ptr %backoff.at
  br label %exit
exit:
  ret void
}

; Let Python handle the signals that came in; whether a handler raised an exception, which the caller raises then.
define internal i32 @signals(ptr %control) {
entry:
  %stop.at = getelementptr i64, ptr %control, i64 {STOP}
  %stop = load atomic i64, ptr %stop.at monotonic, align 8
  %ensure.at = getelementptr i64, ptr %control, i64 {ENSURE_FUNCTION}
  %ensure = load ptr, ptr %ensure.at
  %check.at = getelementptr i64, ptr %control, i64 {CHECK_FUNCTION}
  %check = load ptr, ptr %check.at
  %clear.at = getelementptr i64, ptr %control, i64 {CLEAR_FUNCTION}
  %clear = load ptr, ptr %clear.at
  %release.at = getelementptr i64, ptr %control, i64 {RELEASE_FUNCTION}
  %release = load ptr, ptr %release.at
  %none = icmp eq ptr %ensure, null
  %exiting = icmp ne i64 %stop, 0
  %not = or i1 %none, %exiting
  br i1 %not, label %quiet, label %ask
quiet:
  ret i32 0
ask:
  %state = call i32 %ensure()
  %found = call i32 %check()
  %raised = icmp ne i32 %found, 0
  br i1 %raised, label %forget, label %done
forget:
  call void %clear()
  br label %done
done:
  call void %release(i32 %state)
  ret i32 %found
}

define i64 @run(ptr %program, i64 %num_steps, ptr %control, i64 %threads.wanted) {
entry:
  %environment = call i64 @enter()
  %regions = load ptr, ptr %program
  %num.at = getelementptr i64, ptr %program, i64 1
  %num = load i64, ptr %num.at
  %advances.at = getelementptr i64, ptr %program, i64 2
  %advances = load ptr, ptr %advances.at
  %num.advances.at = getelementptr i64, ptr %program, i64 3
  %num.advances = load i64, ptr %num.advances.at
  %ptrs.at = getelementptr i64, ptr %program, i64 4
  %ptrs = load ptr, ptr %ptrs.at
  %status.at = getelementptr i64, ptr %program, i64 5
  %status = load ptr, ptr %status.at
  %block.at = getelementptr i64, ptr %control, i64 {BLOCK_TICKS}
  %threads.at = getelementptr i64, ptr %control, i64 {THREADS}
  %dismissed.at = getelementptr i64, ptr %control, i64 {DISMISSED}
  %until.at = getelementptr i64, ptr %control, i64 {BACKOFF_UNTIL}
  %stop.at = getelementptr i64, ptr %control, i64 {STOP}
  %running.at = getelementptr i64, ptr %control, i64 {RUNNING}
  %controlled = icmp ne ptr %control, null
  br i1 %controlled, label %timed, label %steps.head.0
timed:                                            ; at interpreter exit: start nothing; see `Pool._stop`
  %running.old = atomicrmw add ptr %running.at, i64 1 seq_cst
  %stop.0 = load atomic i64, ptr %stop.at seq_cst, align 8
  %may.start = icmp eq i64 %stop.0, 0
  %steps.allowed = select i1 %may.start, i64 %num_steps, i64 0
  %block = load i64, ptr %block.at
  %start = {NOW}
  %several = icmp sgt i64 %threads.wanted, 1
  br i1 %several, label %lock, label %steps.head.0
lock:                                             ; whoever does not get the pool works alone
  %pair = cmpxchg ptr %control, i64 0, i64 1 acq_rel monotonic
  %locked = extractvalue { i64, i1 } %pair, 1
  br i1 %locked, label %prepare, label %steps.head.0
prepare:
  store atomic i64 %threads.wanted, ptr %threads.at monotonic, align 8
  br label %steps.head.0
steps.head.0:
  %limit = phi i64 [0, %entry], [%block, %timed], [%block, %lock], [%block, %prepare]
  %steps = phi i64 [%num_steps, %entry], [%steps.allowed, %timed], [%steps.allowed, %lock], [%steps.allowed, %prepare]
  %begun = phi i64 [0, %entry], [%start, %timed], [%start, %lock], [%start, %prepare]
  %pool = phi i1 [false, %entry], [false, %timed], [false, %lock], [true, %prepare]
  br label %steps.head
steps.head:
  %step = phi i64 [0, %steps.head.0], [%step.next, %time], [%step.next, %clock.more], [%step.next, %clock.pool]
  %more = icmp slt i64 %step, %steps
  %code = load i64, ptr %status
  %fine = icmp eq i64 %code, 0
  %go = and i1 %more, %fine
  br i1 %go, label %regions.head, label %finish
regions.head:
  call void @run_regions(ptr %program, ptr %regions, i64 %num, ptr %control, i64 %threads.wanted, i1 %pool)
  %failed.code = load i64, ptr %status              ; a step that failed ends before it changes any state
  %failed = icmp ne i64 %failed.code, 0
  br i1 %failed, label %finish, label %advances.head
advances.head:
  %a = phi i64 [0, %regions.head], [%a.next, %advances.body]
  %a.more = icmp slt i64 %a, %num.advances
  br i1 %a.more, label %advances.body, label %step.end
advances.body:
  %advance = getelementptr { i64, i64 }, ptr %advances, i64 %a
  %index = load i64, ptr %advance
  %stride.at = getelementptr i64, ptr %advance, i64 1
  %stride = load i64, ptr %stride.at
  %entry.at = getelementptr i64, ptr %ptrs, i64 %index
  %value = load i64, ptr %entry.at
  %moved = add i64 %value, %stride
  store i64 %moved, ptr %entry.at
  %a.next = add i64 %a, 1
  br label %advances.head
step.end:                                         ; a step that failed does not count
  %last.code = load i64, ptr %status
  %last.failed = icmp ne i64 %last.code, 0
  %step.next = add i64 %step, 1
  br i1 %last.failed, label %finish, label %counted
counted:
  br label %time
time:
  br i1 %controlled, label %clock, label %steps.head
clock:
  %clock.now = {NOW}
  %used = sub i64 %clock.now, %begun
  %over = icmp sgt i64 %used, %limit
  %stop = load atomic i64, ptr %stop.at monotonic, align 8
  %exiting = icmp ne i64 %stop, 0
  %halt = or i1 %over, %exiting
  br i1 %halt, label %finish.after, label %clock.more
clock.more:
  br i1 %pool, label %clock.pool, label %steps.head
clock.pool:                                       ; back to Python when the dismissed workers may be invited again
  %gone = load atomic i64, ptr %dismissed.at monotonic, align 8
  %are.gone = icmp ne i64 %gone, 0
  %until = load i64, ptr %until.at
  %rest = sub i64 %clock.now, %until
  %rested = icmp sgt i64 %rest, 0
  %invite = and i1 %are.gone, %rested
  br i1 %invite, label %finish.after, label %steps.head
finish.after:
  br label %finish
finish:
  %done = phi i64 [%step, %steps.head], [%step, %regions.head], [%step, %step.end], [%step.next, %finish.after]
  br i1 %pool, label %note, label %count
note:                                             ; for `invite`: when the pool was last used, and a step's time
  %last = {NOW}
  %last.at = getelementptr i64, ptr %control, i64 {LAST_USED}
  store atomic i64 %last, ptr %last.at monotonic, align 8
  %took = sub i64 %last, %begun
  %divisor = call i64 @llvm.smax.i64(i64 %done, i64 1)
  %each = udiv i64 %took, %divisor
  %each.at = getelementptr i64, ptr %program, i64 7
  store i64 %each, ptr %each.at
  br label %unlock
unlock:
  store atomic i64 0, ptr %control release, align 8
  br label %count
count:
  %completed.at = getelementptr i64, ptr %program, i64 6
  %completed.0 = load i64, ptr %completed.at
  %completed.1 = add i64 %completed.0, %done
  store i64 %completed.1, ptr %completed.at
  br i1 %controlled, label %ended, label %exit
ended:
  %running.new = atomicrmw sub ptr %running.at, i64 1 seq_cst
  br label %exit
exit:
  call void @leave(i64 %environment)
  ret i64 %done
}

; Whether sleeping workers should be woken for a run: not while they are dismissed, and only if the run is long or the
; pool is in steady use (waking costs tens of microseconds). Ends their dismissal when its time is over.
define i64 @invite(ptr %control, ptr %program, i64 %num_steps) {
entry:
  %until.at = getelementptr i64, ptr %control, i64 {BACKOFF_UNTIL}
  %until = load i64, ptr %until.at
  %clock = {NOW}
  %rest = sub i64 %clock, %until
  %rested = icmp sge i64 %rest, 0
  br i1 %rested, label %free, label %no
free:
  %dismissed.at = getelementptr i64, ptr %control, i64 {DISMISSED}
  store atomic i64 0, ptr %dismissed.at monotonic, align 8
  %last.at = getelementptr i64, ptr %control, i64 {LAST_USED}
  %last = load atomic i64, ptr %last.at monotonic, align 8
  %gap = sub i64 %clock, %last
  %idle.at = getelementptr i64, ptr %control, i64 {IDLE_TICKS}
  %idle = load i64, ptr %idle.at
  %steady = icmp slt i64 %gap, %idle
  %each.at = getelementptr i64, ptr %program, i64 7
  %each = load i64, ptr %each.at
  %unknown = icmp eq i64 %each, 0
  %steps = call i64 @llvm.smin.i64(i64 %num_steps, i64 1000000)
  %expected = mul i64 %each, %steps
  %worth.at = getelementptr i64, ptr %control, i64 {WORTH_TICKS}
  %worth = load i64, ptr %worth.at
  %long = icmp sgt i64 %expected, %worth
  %reason = or i1 %steady, %unknown
  %yes = or i1 %reason, %long
  %answer = zext i1 %yes to i64
  ret i64 %answer
no:
  ret i64 0
}

; A worker: runs chunks, and returns after a bounded time without any: 1 if no program was running then.
define i64 @worker(ptr %control, i64 %index) {
entry:
  %slots = getelementptr i64, ptr %control, i64 {SLOTS}
  %environment = call i64 @enter()
  %slot = getelementptr [{SLOT_WORDS} x i64], ptr %slots, i64 %index
  %awake.at = getelementptr i64, ptr %slot, i64 {AWAKE}
  store atomic i64 1, ptr %awake.at monotonic, align 8
  %pending.at = getelementptr i64, ptr %control, i64 {PENDING}
  %stop.at = getelementptr i64, ptr %control, i64 {STOP}
  %dismissed.at = getelementptr i64, ptr %control, i64 {DISMISSED}
  %idle.at = getelementptr i64, ptr %control, i64 {IDLE_TICKS}
  %idle = load i64, ptr %idle.at
  %active.at = getelementptr i64, ptr %control, i64 {ACTIVE_TICKS}
  %active = load i64, ptr %active.at
  %yield.at = getelementptr i64, ptr %control, i64 {YIELD_TICKS}
  %yield.ticks = load i64, ptr %yield.at
  br label %work
work:
  %before = phi i64 [0, %entry], [%word, %spin]
  %ran = call i64 @drain(ptr %control, i64 %index)
  %any = icmp ne i64 %ran, 0
  br i1 %any, label %report, label %rest
report:
  %ignored = atomicrmw sub ptr %pending.at, i64 %ran release
  br label %rest
rest:
  %since = {NOW}
  br label %spin
spin:                                             ; a new epoch in the own slot means new work
  %polls = phi i64 [0, %rest], [%polls.next, %wait], [0, %stay]
  %word = load atomic i64, ptr %slot acquire, align 8
  %difference = xor i64 %word, %before
  %changed = icmp ugt i64 %difference, 4294967295
  br i1 %changed, label %work, label %wait
wait:
  {PAUSE}
  %polls.next = add i64 %polls, 1
  %check = icmp sgt i64 %polls.next, 64
  br i1 %check, label %look, label %spin
look:
  %clock = {NOW}
  %waited = sub i64 %clock, %since
  %stop = load atomic i64, ptr %stop.at monotonic, align 8
  %dismissed = load atomic i64, ptr %dismissed.at monotonic, align 8
  %busy = load atomic i64, ptr %control monotonic, align 8
  %told = or i64 %stop, %dismissed
  %leave.now = icmp ne i64 %told, 0
  %running = icmp ne i64 %busy, 0
  %limit = select i1 %running, i64 %active, i64 %idle
  %bored = icmp sgt i64 %waited, %limit
  %out = or i1 %leave.now, %bored
  br i1 %out, label %exit, label %consider
consider:
  %long = icmp sgt i64 %waited, %yield.ticks
  br i1 %long, label %give.way, label %stay
give.way:
  call void @yield(ptr %control)
  br label %stay
stay:
  br label %spin
exit:
  store atomic i64 0, ptr %awake.at monotonic, align 8
  call void @leave(i64 %environment)
  %idled = xor i1 %running, true
  %unneeded = and i1 %bored, %idled
  %answer = zext i1 %unneeded to i64
  ret i64 %answer
}

declare i64 @llvm.readcyclecounter()
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
"""


def has_clock(architecture: str) -> bool:
    """Whether the driver can read the time on this architecture; without, programs run on one thread."""
    return architecture in _NOW


def text(architecture: str) -> str:
    """The driver's LLVM IR for an architecture (`toolchain.architecture`)."""
    words = {name: str(value) for name, value in globals().items() if name.isupper() and isinstance(value, int)}
    words["PAUSE"] = _PAUSE.get(architecture, "")
    words["NOW"] = _NOW.get(architecture, "add i64 0, 0")
    common = re.sub(r"\{([A-Z_]+)\}", lambda match: words[match.group(1)], walk_ir.TEXT + _COMMON)
    return {"x86_64": _X86, "aarch64": _AARCH64}.get(architecture, _OTHER) + common

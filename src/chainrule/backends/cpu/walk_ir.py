"""LLVM IR of how a thread walks a program: regions, their tasks in chunks, and loops over regions or over rows.

`driver` describes programs; `driver_ir` has the threads that share a region (`run_parallel`), the clock and signals,
and puts its numbers where names stand in braces.
"""

TEXT = """
; One chunk of a region: find its task, then run all its calls on lo..hi.
define internal void @run_chunk(ptr %program, ptr %region, i64 %number) {
entry:
  %tasks = load ptr, ptr %region
  %ptrs.at = getelementptr i64, ptr %program, i64 4
  %ptrs = load ptr, ptr %ptrs.at
  br label %find
find:
  %task = phi ptr [%tasks, %entry], [%task.next, %skip]
  %chunk = phi i64 [%number, %entry], [%chunk.next, %skip]
  %count.at = getelementptr i64, ptr %task, i64 4
  %count = load i64, ptr %count.at
  %here = icmp slt i64 %chunk, %count
  br i1 %here, label %found, label %skip
skip:
  %task.next = getelementptr i64, ptr %task, i64 5
  %chunk.next = sub i64 %chunk, %count
  br label %find
found:
  call void @run_rows(ptr %ptrs, ptr %region, ptr %task, i64 %chunk)
  ret void
}

; A chunk of a task: all its calls, once; of a loop whose rows are apart in every iteration, with a table of its own.
define internal void @run_rows(ptr %ptrs, ptr %region, ptr %task, i64 %chunk) {
entry:
  %loop.at = getelementptr i64, ptr %region, i64 5
  %loop = load ptr, ptr %loop.at
  %once = icmp eq ptr %loop, null
  br i1 %once, label %single, label %repeated
single:
  call void @run_calls(ptr %ptrs, ptr %task, i64 %chunk)
  ret void
repeated:
  %count = load i64, ptr %loop
  %entries.at = getelementptr i64, ptr %loop, i64 10
  %entries = load i64, ptr %entries.at
  %own = alloca i64, i64 %entries, align 16
  br label %copy.head
copy.head:
  %e = phi i64 [0, %repeated], [%e.next, %copy.body]
  %e.more = icmp slt i64 %e, %entries
  br i1 %e.more, label %copy.body, label %begin
copy.body:
  %from = getelementptr i64, ptr %ptrs, i64 %e
  %value = load i64, ptr %from
  %to = getelementptr i64, ptr %own, i64 %e
  store i64 %value, ptr %to
  %e.next = add i64 %e, 1
  br label %copy.head
begin:
  call void @set_entries(ptr %own, ptr %loop, i64 3)
  br label %head
head:
  %i = phi i64 [0, %begin], [%i.next, %body]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit
body:
  call void @run_calls(ptr %own, ptr %task, i64 %chunk)
  call void @set_entries(ptr %own, ptr %loop, i64 5)
  %i.next = add i64 %i, 1
  br label %head
exit:
  ret void
}

define internal void @run_calls(ptr %ptrs, ptr %task, i64 %chunk) {
entry:
  %calls = load ptr, ptr %task
  %num.at = getelementptr i64, ptr %task, i64 1
  %num = load i64, ptr %num.at
  %extent.at = getelementptr i64, ptr %task, i64 2
  %extent = load i64, ptr %extent.at
  %size.at = getelementptr i64, ptr %task, i64 3
  %size = load i64, ptr %size.at
  %lo = mul i64 %chunk, %size
  %hi.full = add i64 %lo, %size
  %hi = call i64 @llvm.smin.i64(i64 %hi.full, i64 %extent)
  %calls.end = getelementptr { ptr, ptr }, ptr %calls, i64 %num
  br label %head
head:
  %call = phi ptr [%calls, %entry], [%call.next, %body]
  %more = icmp ne ptr %call, %calls.end
  br i1 %more, label %body, label %exit
body:
  %fn = load ptr, ptr %call
  %args.at = getelementptr i64, ptr %call, i64 1
  %args = load ptr, ptr %args.at
  call void %fn(ptr %ptrs, ptr %args, i64 %lo, i64 %hi)
  %call.next = getelementptr i64, ptr %call, i64 2
  br label %head
exit:
  ret void
}

; A region on this thread alone: tasks in order, chunk by chunk.
define internal void @run_serial(ptr %program, ptr %region) {
entry:
  %tasks = load ptr, ptr %region
  %num.at = getelementptr i64, ptr %region, i64 1
  %num = load i64, ptr %num.at
  %ptrs.at = getelementptr i64, ptr %program, i64 4
  %ptrs = load ptr, ptr %ptrs.at
  %status.at = getelementptr i64, ptr %program, i64 5
  %status = load ptr, ptr %status.at
  br label %tasks.head
tasks.head:
  %t = phi i64 [0, %entry], [%t.next, %chunks.done]
  %t.more = icmp slt i64 %t, %num
  %code = load i64, ptr %status
  %fine = icmp eq i64 %code, 0
  %t.go = and i1 %t.more, %fine
  br i1 %t.go, label %task.body, label %exit
task.body:
  %offset = mul i64 %t, 5
  %task = getelementptr i64, ptr %tasks, i64 %offset
  %count.at = getelementptr i64, ptr %task, i64 4
  %count = load i64, ptr %count.at
  br label %chunks.head
chunks.head:
  %c = phi i64 [0, %task.body], [%c.next, %chunks.body]
  %c.more = icmp slt i64 %c, %count
  br i1 %c.more, label %chunks.body, label %chunks.done
chunks.body:
  call void @run_rows(ptr %ptrs, ptr %region, ptr %task, i64 %c)
  %c.next = add i64 %c, 1
  br label %chunks.head
chunks.done:
  %t.next = add i64 %t, 1
  br label %tasks.head
exit:
  ret void
}

; Regions one after another, until one reports a failure.
define internal void @run_regions(
    ptr %program, ptr %regions, i64 %num, ptr %control, i64 %threads.wanted, i1 %pool) {
entry:
  %status.at = getelementptr i64, ptr %program, i64 5
  %status = load ptr, ptr %status.at
  %regions.end = getelementptr [6 x i64], ptr %regions, i64 %num
  br label %head
head:
  %region = phi ptr [%regions, %entry], [%region.next, %next]
  %more = icmp ne ptr %region, %regions.end
  br i1 %more, label %check, label %exit
check:
  %failed.code = load i64, ptr %status
  %failed = icmp ne i64 %failed.code, 0
  br i1 %failed, label %exit, label %body
body:
  %kind.at = getelementptr i64, ptr %region, i64 3
  %kind = load i64, ptr %kind.at
  %is.loop = icmp eq i64 %kind, 2
  br i1 %is.loop, label %repeated, label %once
repeated:
  %loop = load ptr, ptr %region
  call void @run_loop(ptr %program, ptr %loop, ptr %control, i64 %threads.wanted, i1 %pool)
  br label %next
once:
  %total.at = getelementptr i64, ptr %region, i64 2
  %total = load i64, ptr %total.at
  %marked = icmp ne i64 %kind, 0
  %many = icmp sgt i64 %total, 1
  %divisible = and i1 %marked, %many
  %share = and i1 %divisible, %pool
  br i1 %share, label %shared, label %serial
serial:
  call void @run_serial(ptr %program, ptr %region)
  br label %next
shared:
  %useful = call i64 @llvm.smin.i64(i64 %threads.wanted, i64 %total)
  call void @run_parallel(ptr %control, ptr %program, ptr %region, i64 %useful)
  br label %next
next:
  %region.next = getelementptr i64, ptr %region, i64 6
  br label %head
exit:
  ret void
}

; Regions again and again. Workers see the moved entries: they get chunks only after the claims are published.
define internal void @run_loop(ptr %program, ptr %loop, ptr %control, i64 %threads.wanted, i1 %pool) {
entry:
  %count = load i64, ptr %loop
  %regions.at = getelementptr i64, ptr %loop, i64 1
  %regions = load ptr, ptr %regions.at
  %num.at = getelementptr i64, ptr %loop, i64 2
  %num = load i64, ptr %num.at
  %polls.at = getelementptr i64, ptr %loop, i64 7
  %polls = load i64, ptr %polls.at
  %wanted = icmp ne i64 %polls, 0
  %controlled = icmp ne ptr %control, null
  %polled = and i1 %wanted, %controlled
  %block.at = getelementptr i64, ptr %control, i64 {BLOCK_TICKS}
  %status.at = getelementptr i64, ptr %program, i64 5
  %status = load ptr, ptr %status.at
  %when.at = getelementptr i64, ptr %loop, i64 8
  %when = load i64, ptr %when.at
  %number.at = getelementptr i64, ptr %loop, i64 9
  %number = load i64, ptr %number.at
  %ptrs.at = getelementptr i64, ptr %program, i64 4
  %ptrs = load ptr, ptr %ptrs.at
  %start = {NOW}
  call void @set_entries(ptr %ptrs, ptr %loop, i64 3)
  br label %head
head:
  %i = phi i64 [0, %entry], [%i.next, %body], [%i.next, %look], [%i.next, %poll], [%i.next, %interrupted]
  %since = phi i64 [%start, %entry], [%since, %body], [%since, %look], [%clock, %poll], [%clock, %interrupted]
  %more = icmp slt i64 %i, %count
  %code = load i64, ptr %status
  %fine = icmp eq i64 %code, 0
  %wished = call i1 @holds(ptr %program, i64 %when, i64 %number)
  %may = and i1 %more, %fine
  %go = and i1 %may, %wished
  br i1 %go, label %body, label %exit
body:
  call void @run_regions(ptr %program, ptr %regions, i64 %num, ptr %control, i64 %threads.wanted, i1 %pool)
  call void @set_entries(ptr %ptrs, ptr %loop, i64 5)
  %i.next = add i64 %i, 1
  br i1 %polled, label %look, label %head
look:
  %clock = {NOW}
  %used = sub i64 %clock, %since
  %block = load i64, ptr %block.at
  %long = icmp sgt i64 %used, %block
  br i1 %long, label %poll, label %head
poll:
  %found = call i32 @signals(ptr %control)
  %any = icmp ne i32 %found, 0
  br i1 %any, label %interrupted, label %head
interrupted:                                      ; the step has changed nothing yet: it ends, and does not count
  store i64 -1, ptr %status
  br label %head
exit:
  ret void
}

; The condition of a loop; true if there is none.
define internal i1 @holds(ptr %program, i64 %when, i64 %number) {
entry:
  %always = icmp slt i64 %when, 0
  br i1 %always, label %yes, label %look
look:
  %ptrs.at = getelementptr i64, ptr %program, i64 4
  %ptrs = load ptr, ptr %ptrs.at
  %place.at = getelementptr i64, ptr %ptrs, i64 %when
  %place = load ptr, ptr %place.at
  %is.flag = icmp slt i64 %number, 0
  br i1 %is.flag, label %flag, label %word
flag:
  %byte = load i8, ptr %place
  %set = icmp ne i8 %byte, 0
  ret i1 %set
word:
  %found = load i64, ptr %place
  %same = icmp eq i64 %found, %number
  ret i1 %same
yes:
  ret i1 true
}

; ptrs[entry] = ptrs[source] + bytes, for triples in order: word `at` of the loop says where they are, the next one how
; many there are.
define internal void @set_entries(ptr %ptrs, ptr %loop, i64 %at) {
entry:
  %moves.at = getelementptr i64, ptr %loop, i64 %at
  %moves = load ptr, ptr %moves.at
  %num.at = getelementptr i64, ptr %moves.at, i64 1
  %num = load i64, ptr %num.at
  %end = getelementptr [3 x i64], ptr %moves, i64 %num
  br label %head
head:
  %move = phi ptr [%moves, %entry], [%move.next, %body]
  %more = icmp ne ptr %move, %end
  br i1 %more, label %body, label %exit
body:
  %target = load i64, ptr %move
  %source.at = getelementptr i64, ptr %move, i64 1
  %source = load i64, ptr %source.at
  %bytes.at = getelementptr i64, ptr %move, i64 2
  %bytes = load i64, ptr %bytes.at
  %from = getelementptr i64, ptr %ptrs, i64 %source
  %value = load i64, ptr %from
  %moved = add i64 %value, %bytes
  %to = getelementptr i64, ptr %ptrs, i64 %target
  store i64 %moved, ptr %to
  %move.next = getelementptr [3 x i64], ptr %move, i64 1
  br label %head
exit:
  ret void
}
"""

// SPDX-License-Identifier: MIT
// hot_path: every call of a tracer and of CallbackScope, recording, stopped, with a full ring and compiled away: no
// allocation, no lock, no system call. Counted, not argued:
//
//   allocations    malloc and its family are this program's own, operator new ends there
//   locks          so are pthread's mutexes, rwlocks, spinlocks, conditions, once, sem_wait and the guards of local statics
//   system calls   a seccomp filter traps each one, in a child process
//
// A control that does each of the three shows that they are seen.
#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "thence/capture/frame_pointers.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/storage/flight_recorder.hpp"
#include "thence/storage/mapped_storage.hpp"

using namespace thence;

// ---- what counts

namespace {
struct Counts {
  long allocations = 0;
  long locks = 0;
  long system_calls = 0;
};
Counts counts;
volatile long trapped = 0;  // by the signal's handler

void begin_counting() {
  counts = {};
  trapped = 0;
}
Counts counted() {
  counts.system_calls = trapped;
  return counts;
}

template <class Function>
Function* next_of(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
}  // namespace

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

// Defined by their symbols, so that no header's declaration has to be matched.
void* hook_malloc(size_t) __asm__("malloc");
void* hook_calloc(size_t, size_t) __asm__("calloc");
void* hook_realloc(void*, size_t) __asm__("realloc");
void* hook_aligned_alloc(size_t, size_t) __asm__("aligned_alloc");
void* hook_memalign(size_t, size_t) __asm__("memalign");
int hook_posix_memalign(void**, size_t, size_t) __asm__("posix_memalign");
void* hook_malloc(size_t size) { return ++counts.allocations, __libc_malloc(size); }
void* hook_calloc(size_t n, size_t size) { return ++counts.allocations, __libc_calloc(n, size); }
void* hook_realloc(void* old, size_t size) { return ++counts.allocations, __libc_realloc(old, size); }
void* hook_aligned_alloc(size_t align, size_t size) { return ++counts.allocations, __libc_memalign(align, size); }
void* hook_memalign(size_t align, size_t size) { return ++counts.allocations, __libc_memalign(align, size); }
int hook_posix_memalign(void** to, size_t align, size_t size) {
  ++counts.allocations;
  *to = __libc_memalign(align, size);
  return *to == nullptr ? ENOMEM : 0;
}

#define COUNTED_LOCK(name, type)                            \
  int hook_##name(type* lock) __asm__(#name);               \
  int hook_##name(type* lock) {                             \
    static int (*next)(type*) = nullptr;                    \
    if (next == nullptr) next = next_of<int(type*)>(#name); \
    ++counts.locks;                                         \
    return next(lock);                                      \
  }
COUNTED_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNTED_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNTED_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_spin_lock, pthread_spinlock_t)
COUNTED_LOCK(sem_wait, sem_t)
COUNTED_LOCK(__cxa_guard_acquire, std::int64_t)
#undef COUNTED_LOCK
int hook_pthread_once(pthread_once_t*, void (*)(void)) __asm__("pthread_once");
int hook_pthread_once(pthread_once_t* once, void (*run)(void)) {
  ++counts.locks;
  return next_of<int(pthread_once_t*, void (*)(void))>("pthread_once")(once, run);
}
int hook_pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*) __asm__("pthread_cond_wait");
int hook_pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  ++counts.locks;
  return next_of<int(pthread_cond_t*, pthread_mutex_t*)>("pthread_cond_wait")(condition, mutex);
}
}  // extern "C"

namespace {

void on_trapped_call(int, siginfo_t*, void* context) {
  trapped = trapped + 1;
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  machine.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
  machine.regs[0] = static_cast<unsigned long long>(-ENOSYS);
#endif
}

/// From here on every system call but the return from the handler and the end is counted and refused. 0, or errno.
int trap_system_calls() {
  struct sigaction action {};
  action.sa_sigaction = on_trapped_call;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, nullptr);
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) return errno;
  return 0;
}

// ---- what is counted

constexpr int kTimes = 300;

template <class Tracer>
struct Context {
  Tracer& tracer;
  Resource root{};
  Resource a{};
  Resource b{};
  std::uint64_t n = 0;
  const char* text = nullptr;  // of 2000 bytes
};

template <class Tracer>
struct Call {
  const char* name;
  void (*run)(Context<Tracer>&);
};

template <class Tracer>
constexpr auto calls() {
  using C = Context<Tracer>;
  return std::to_array<Call<Tracer>>({
      {"begin_root", [](C& c) { c.root = c.tracer.begin_root(); }},
      {"begin_root(type, request)", [](C& c) { c.root = c.tracer.begin_root(ResourceType::kRoot, {.asked = true}); }},
      {"create", [](C& c) { c.a = c.tracer.create(ResourceType::kTimer); }},
      {"create(options)",
       [](C& c) { c.b = c.tracer.create(ResourceType::kFetch, {.trigger = c.root, .stack = StackId::kNone}); }},
      {"create(site)", [](C& c) { c.b = c.tracer.create(ResourceType::kFetch, SourceSite::current()); }},
      {"create from a new place",
       [](C& c) {
         c.b = c.tracer.create(ResourceType::kFetch,
                               SourceSite{"file.cpp", "function", static_cast<std::uint32_t>(++c.n)});
       }},
      {"schedule", [](C& c) { c.tracer.schedule(c.a); }},
      {"schedule(by)", [](C& c) { c.tracer.schedule(c.a, Actor::kExternal); }},
      {"enter, exit",
       [](C& c) {
         c.tracer.enter(c.a);
         c.tracer.exit(c.a);
       }},
      {"enter(cause), exit",
       [](C& c) {
         c.tracer.enter(c.a, Cause::settled(c.b));
         c.tracer.exit(c.a);
       }},
      {"exit without enter", [](C& c) { c.tracer.exit(c.b); }},
      {"exits that cross",
       [](C& c) {
         c.tracer.enter(c.a);
         c.tracer.enter(c.b);
         c.tracer.exit(c.a);
         c.tracer.exit(c.b);
       }},
      {"nesting too deep",
       [](C& c) {
         for (int depth = 0; depth != 200; ++depth) c.tracer.enter(c.a);
         for (int depth = 0; depth != 200; ++depth) c.tracer.exit(c.a);
       }},
      {"settle", [](C& c) { c.tracer.settle(c.a, Outcome::kFulfilled); }},
      {"settle(by)", [](C& c) { c.tracer.settle(c.a, Outcome::kRejected, Actor::kInvocation, c.b.id); }},
      {"at(moment)",
       [](C& c) {
         const auto moment = c.tracer.at(c.tracer.now());
         const Resource made = moment.create(ResourceType::kTimer);
         moment.schedule(made);
         moment.enter(made);
         moment.settle(made, Outcome::kRejected);
         moment.settle(made, Outcome::kRejected, Actor::kInvocation, c.b.id);
         moment.link(c.b, made);
         moment.exit(made);
         moment.destroy(made);
       }},
      {"link", [](C& c) { c.tracer.link(c.a, c.b); }},
      {"link(kind)", [](C& c) { c.tracer.link(c.a, c.b, LinkKind::kBridge); }},
      {"annotate(text)", [](C& c) { c.tracer.annotate(c.a, "url", "http://example.com/a/path?query"); }},
      {"annotate(text too long)", [](C& c) { c.tracer.annotate(c.a, "body", std::string_view(c.text, 2000)); }},
      {"annotate(signed)", [](C& c) { c.tracer.annotate(c.a, "delay", -5); }},
      {"annotate(unsigned)", [](C& c) { c.tracer.annotate(c.a, "rows", 5u); }},
      {"annotate(double)", [](C& c) { c.tracer.annotate(c.a, "ratio", 0.5); }},
      {"annotate(bool)", [](C& c) { c.tracer.annotate(c.a, "hit", true); }},
      {"counter(integer)", [](C& c) { c.tracer.counter(CounterId::kPending, 5); }},
      {"counter(double)", [](C& c) { c.tracer.counter(CounterId::kLoopLag, 0.5); }},
      {"queue_depth", [](C& c) { c.tracer.queue_depth(7); }},
      {"park, unpark",
       [](C& c) {
         c.tracer.park();
         c.tracer.unpark();
       }},
      {"begin_pause, end_pause",
       [](C& c) {
         c.tracer.begin_pause(PauseKind::kGcMajor);
         c.tracer.end_pause(PauseKind::kGcMajor);
       }},
      {"intern_script_stack",
       [](C& c) {
         // A new function each time, until the table is full; then refused.
         const ScriptFrame frames[] = {{std::string_view(c.text, ++c.n % 1000 + 1), "app.js", 1, 2},
                                       {"outer", "app.js", 3, 4}};
         c.tracer.intern_script_stack(frames);
       }},
      {"intern_native_stack",
       [](C& c) {
         const std::uint64_t pcs[] = {++c.n, 2, 3};
         c.tracer.intern_native_stack(pcs);
       }},
      {"active, current, depth, misuse",
       [](C& c) {
         c.n += c.tracer.active() + number(c.tracer.current().id) + c.tracer.depth() + c.tracer.misuse().too_deep;
       }},
      {"CallbackScope",
       [](C& c) {
         CallbackScope scope{c.tracer, c.a};
       }},
      {"CallbackScope(cause), nested",
       [](C& c) {
         CallbackScope outer{c.tracer, c.a, Cause::external()};
         CallbackScope inner{c.tracer, c.b};
         c.tracer.settle(c.a, Outcome::kFulfilled);
         c.b = c.tracer.create(ResourceType::kTimer);
       }},
      {"the empty handle",
       [](C& c) {
         CallbackScope scope{c.tracer, Resource{}};
         c.tracer.settle(Resource{}, Outcome::kFulfilled);
         c.tracer.destroy(Resource{});
       }},
      {"an untraced one",
       [](C& c) {
         CallbackScope scope{c.tracer, Resource{ResourceId::kNone, RootId::kUntraced}};
         c.tracer.create(ResourceType::kTimer);
       }},
      {"destroy", [](C& c) { c.tracer.destroy(c.a); }},
      {"finish_root", [](C& c) { c.tracer.finish_root(c.root); }},
  });
}

/// What the child found, in memory that both have.
struct Report {
  int error = 0;
  Counts control;
  Counts total;
  int calls = 0;
  std::uint64_t slots = 0;
  struct {
    const char* name;
    Counts counts;
  } found[64];
};

int failures = 0;

template <class Tracer>
void check(const char* title, Tracer& tracer, bool records) {
  auto* const report =
      static_cast<Report*>(mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ::new (report) Report{};
  static char text[2000];
  std::memset(text, 'x', sizeof text);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    report->error = trap_system_calls();
    if (report->error != 0) _exit(0);
    begin_counting();
    void* volatile block = std::malloc(10);
    pthread_mutex_lock(&mutex);
    syscall(SYS_getppid);
    report->control = counted();
    (void)block;

    const auto written = [&]() -> std::uint64_t {
      if constexpr (Tracer::kRecords) return tracer.ring().fill() + tracer.ring().lost();
      return 0;
    };
    const std::uint64_t written_before = written();  // a file's slots are shared by all these processes
    Context<Tracer> context{tracer, {}, {}, {}, 0, text};
    for (const auto& call : calls<Tracer>()) {
      begin_counting();
      for (int n = 0; n != kTimes; ++n) call.run(context);
      auto& found = report->found[report->calls++];
      found.name = call.name;
      found.counts = counted();
      report->total.allocations += found.counts.allocations;
      report->total.locks += found.counts.locks;
      report->total.system_calls += found.counts.system_calls;
    }
    report->slots = written() - written_before;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  bool right = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!right) std::printf("%s: the child ended with status %d\n", title, status);
  if (report->error != 0) {
    std::printf("%s: system calls cannot be counted here: seccomp: %s\n", title, std::strerror(report->error));
    right = false;
  }
  const auto seen = [](const Counts& some) { return some.allocations + some.locks + some.system_calls; };
  if (report->control.allocations == 0 || report->control.locks == 0 || report->control.system_calls == 0) {
    std::printf("%s: the control's own were not seen\n", title);
    right = false;
  }
  for (int n = 0; n != report->calls; ++n) {
    const auto& found = report->found[n];
    if (seen(found.counts) == 0) continue;
    std::printf("%s: %s, %d times: %ld allocations, %ld locks, %ld system calls\n", title, found.name, kTimes,
                found.counts.allocations, found.counts.locks, found.counts.system_calls);
    right = false;
  }
  if (records != (report->slots != 0)) {
    std::printf("%s: %llu slots were written\n", title, static_cast<unsigned long long>(report->slots));
    right = false;
  }
  std::printf("%-40s %d calls x %d: %ld allocations, %ld locks, %ld system calls%s\n", title, report->calls, kTimes,
              report->total.allocations, report->total.locks, report->total.system_calls, right ? "" : "  FAILED");
  failures += !right;
  munmap(report, sizeof(Report));
}

template <class Policies, class... Ring>
void check_policies(const char* title, Ring&&... ring) {
  TracerLink link;
  BasicTracer<Policies> tracer(link, typename Policies::Clock{}, {.max_stacks = 200, .max_frames = 2000},
                               {.max_stacks = 200, .max_frames = 20'000}, std::forward<Ring>(ring)...);
  tracer.set_epoch(1);
  check((std::string(title) + ", recording").c_str(), tracer, true);
  link.set_sampling(Sampling::none());
  check((std::string(title) + ", no root sampled").c_str(), tracer, true);
  tracer.set_epoch(0);
  check((std::string(title) + ", stopped").c_str(), tracer, false);
}

struct Spilling : DefaultPolicies {
  using Overflow = SpillOnce;
};
struct Recorder : DefaultPolicies {
  using Buffer = FlightRecorder<HeapStorage>;
};
struct InFile : DefaultPolicies {
  using Storage = MappedFileStorage;
};
struct WithStacks : DefaultPolicies {
  using Stacks = FramePointerStacks;
};

}  // namespace

int main() {
  check_policies<DefaultPolicies>("default policies", HeapStorage{1 << 19});
  check_policies<DefaultPolicies>("a full ring", HeapStorage{32});
  check_policies<Spilling>("a ring that spills", HeapStorage{64}, HeapStorage{1 << 12});
  check_policies<Recorder>("a flight recorder", HeapStorage{1 << 10});
  check_policies<WithStacks>("frame pointers", HeapStorage{1 << 12});
  const std::string path = "hot-path-" + std::to_string(getpid()) + ".flight";
  MappedFile file = MappedFileStorage::create(path.c_str(), 1 << 12);
  if (file) {
    file.storage->remove();
    check_policies<InFile>("a ring in a file", std::move(*file.storage));
  } else {
    std::printf("%s\n", file.error.c_str());
    ++failures;
  }
  NullTracer none;
  check("compiled away", none, false);
  return failures == 0 ? 0 : 1;
}

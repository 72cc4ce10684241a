import java.io.ByteArrayInputStream;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.kafka.common.utils.Exit;

/**
 * Runs main classes one after the other in one JVM: starting a JVM for each of Kafka's tools would take most of a test's time.
 *
 * A command is a line of the standard input: words in base64, parted by blanks: the file for stdout, the file for stderr, the text of stdin,
 * seconds to wait, the class, the arguments. The answer is a line of the standard output: the exit code, or "timeout".
 */
public final class Harness {
    private static final class Exited extends Error {
        final int code;

        Exited(int code) {
            super(null, null, false, false);
            this.code = code;
        }
    }

    /** The hooks that were given to the JVM itself; it needs --add-opens java.base/java.lang=ALL-UNNAMED. */
    @SuppressWarnings("unchecked")
    private static Map<Thread, Thread> jvmHooks() throws Exception {
        Field f = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
        f.setAccessible(true);
        return (Map<Thread, Thread>) f.get(null);
    }

    public static void main(String[] argv) throws Exception {
        PrintStream answers = System.out;
        List<Runnable> hooks = Collections.synchronizedList(new ArrayList<>());
        int[] first = {-1};
        Exit.Procedure leave = (code, message) -> {
            synchronized (first) {
                if (first[0] < 0) {
                    first[0] = code;
                }
            }
            if (message != null) {
                System.err.println(message);
            }
            throw new Exited(code);
        };
        Exit.setExitProcedure(leave);
        Exit.setHaltProcedure(leave);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            List<String> words = new ArrayList<>();
            for (String w : line.split(" ", -1)) {
                words.add(new String(Base64.getDecoder().decode(w), StandardCharsets.UTF_8));
            }
            synchronized (first) {
                first[0] = -1;
            }
            hooks.clear();
            Map<Thread, Thread> jvm = jvmHooks();
            Set<Thread> before = Collections.newSetFromMap(new IdentityHashMap<>());
            before.addAll(jvm.keySet());
            PrintStream out = new PrintStream(new FileOutputStream(words.get(0)), true, StandardCharsets.UTF_8);
            PrintStream err = new PrintStream(new FileOutputStream(words.get(1)), true, StandardCharsets.UTF_8);
            System.setOut(out);
            System.setErr(err);
            System.setIn(new ByteArrayInputStream(words.get(2).getBytes(StandardCharsets.UTF_8)));
            String[] args = words.subList(5, words.size()).toArray(new String[0]);
            String[] result = {"0"};
            Thread t = new Thread(() -> {
                try {
                    Method m = Class.forName(words.get(4)).getMethod("main", String[].class);
                    m.invoke(null, (Object) args);
                } catch (InvocationTargetException e) {
                    if (e.getCause() instanceof Exited) {
                        result[0] = Integer.toString(((Exited) e.getCause()).code);
                    } else {
                        e.getCause().printStackTrace(err);
                        result[0] = "1";
                    }
                } catch (Throwable e) {
                    e.printStackTrace(err);
                    result[0] = "1";
                }
            });
            t.setDaemon(true);
            t.start();
            t.join(Long.parseLong(words.get(3)) * 1000);
            boolean late = t.isAlive();
            // At its end, or an interrupt where it goes on for ever, a process runs its hooks: some tools finish in theirs.
            for (Runnable hook : new ArrayList<>(hooks)) {
                Thread h = new Thread(() -> {
                    try {
                        hook.run();
                    } catch (Exited e) {
                        // it is done
                    }
                });
                h.setDaemon(true);
                h.start();
                h.join(10000);
            }
            for (Thread hook : new ArrayList<>(jvm.keySet())) {
                if (!before.contains(hook)) {
                    jvm.remove(hook);
                    hook.start();
                    hook.join(10000);
                }
            }
            if (late) {
                t.join(5000);
                t.interrupt();
                result[0] = "timeout";
            }
            synchronized (first) {
                // Some tools catch everything around their exit: the first call decides, as it would have ended the process.
                if (first[0] >= 0 && !result[0].equals("timeout")) {
                    result[0] = Integer.toString(first[0]);
                }
            }
            out.flush();
            err.flush();
            answers.println(result[0]);
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }
}

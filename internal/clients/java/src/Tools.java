import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line programs one after the other in one JVM: a program takes a tenth of a second instead of the
 * two that a JVM of its own needs.
 *
 * <pre>
 * request:  count int32 | count x (length int32, UTF-8): main class and arguments | length int32, standard input
 * response: exit status int32 | length int32, standard output | length int32, standard error
 * </pre>
 */
public final class Tools {
    /** Leaves a program where it calls exit. */
    private static final class Exited extends Error {
        final int status;

        Exited(int status) {
            super("exit " + status, null, false, false);
            this.status = status;
        }
    }

    /** Loggers keep the stream they find at first; so they find one that goes to the program that is running. */
    private static final class Switch extends OutputStream {
        volatile OutputStream to = OutputStream.nullOutputStream();

        @Override
        public void write(int b) throws IOException {
            to.write(b);
        }

        @Override
        public void write(byte[] b, int from, int length) throws IOException {
            to.write(b, from, length);
        }
    }

    /** Loads the programs' own classes anew each time, because they keep state in static fields. */
    private static final class Fresh extends ClassLoader {
        Fresh() {
            super(Tools.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (name.startsWith("org.apache.kafka.tools.api.") // which other loaders load too, and hand to the programs
                    || !name.startsWith("org.apache.kafka.tools.") && !name.startsWith("kafka.admin.")) {
                return super.loadClass(name, resolve);
            }
            Class<?> known = findLoadedClass(name);
            if (known != null) {
                return known;
            }
            try (InputStream in = getParent().getResourceAsStream(name.replace('.', '/') + ".class")) {
                if (in == null) {
                    throw new ClassNotFoundException(name);
                }
                byte[] code = in.readAllBytes();
                return defineClass(name, code, 0, code.length);
            } catch (IOException e) {
                throw new ClassNotFoundException(name, e);
            }
        }
    }

    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();
    private static final List<Runnable> HOOKS = new CopyOnWriteArrayList<>();
    private static volatile int status;

    public static void main(String[] args) throws IOException {
        DataInputStream requests = new DataInputStream(System.in);
        DataOutputStream responses = new DataOutputStream(new FileOutputStream(FileDescriptor.out));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.Procedure leave = (code, message) -> {
            if (status < 0) {
                status = code;
            }
            throw new Exited(code);
        };
        Exit.setExitProcedure(leave);
        Exit.setHaltProcedure(leave);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        while (true) {
            String[] command;
            try {
                command = new String[requests.readInt()];
            } catch (EOFException e) {
                Runtime.getRuntime().halt(0); // programs leave clients open where they call exit
                return;
            }
            for (int i = 0; i < command.length; i++) {
                command[i] = new String(requests.readNBytes(requests.readInt()), StandardCharsets.UTF_8);
            }
            System.setIn(new ByteArrayInputStream(requests.readNBytes(requests.readInt())));
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            OUT.to = out;
            ERR.to = err;
            run(command);
            hooks();
            System.out.flush();
            System.err.flush();
            responses.writeInt(Math.max(status, 0));
            reply(responses, out);
            reply(responses, err);
        }
    }

    private static void reply(DataOutputStream to, ByteArrayOutputStream text) throws IOException {
        byte[] bytes = text.toByteArray();
        to.writeInt(bytes.length);
        to.write(bytes);
        to.flush();
    }

    /** What the JVM would do at its end: close producers, print last words. */
    private static void hooks() {
        for (Runnable hook : HOOKS) {
            Thread thread = new Thread(hook);
            thread.start();
            try {
                thread.join(10_000);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
        HOOKS.clear();
    }

    private static void run(String[] command) {
        status = -1;
        String[] args = Arrays.copyOfRange(command, 1, command.length);
        ClassLoader before = Thread.currentThread().getContextClassLoader();
        try {
            Class.forName(command[0], true, new Fresh()).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Exited)) {
                e.getCause().printStackTrace();
                status = status > 0 ? status : 1;
            }
        } catch (ReflectiveOperationException e) {
            e.printStackTrace();
            status = 127;
        } finally {
            Thread.currentThread().setContextClassLoader(before);
        }
    }
}
